output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets of the functions, one a zone: out through NAT, nothing in."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
}

output "database_subnet_ids" {
  description = "Subnets of the database, one a zone: no way in or out of the VPC."
  value       = [for zone in var.zones : aws_subnet.database[zone].id]
}

output "function_security_group_id" {
  description = "Security group of the functions."
  value       = aws_security_group.function.id
}

output "database_security_group_id" {
  description = "Security group of the database."
  value       = aws_security_group.database.id
}

output "database_port" {
  description = "TCP port that the functions reach the database on."
  value       = var.database_port
}

output "nat_public_ips" {
  description = "Addresses that the functions' calls come from, for allow lists."
  value       = [for eip in aws_eip.nat : eip.public_ip]
}

output "log_kms_key_arn" {
  description = "Key that the environment's logs are encrypted with (ARN)."
  value       = aws_kms_key.logs.arn
}
