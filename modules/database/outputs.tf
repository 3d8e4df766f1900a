output "identifier" {
  description = "Identifier of the instance, the dimension of its metrics."
  value       = aws_db_instance.this.identifier
}

output "arn" {
  description = "ARN of the instance, for backups."
  value       = aws_db_instance.this.arn
}

output "host" {
  description = "Host to connect to: the proxy's where there is one, otherwise the instance's."
  value       = local.proxied ? aws_db_proxy.this[0].endpoint : aws_db_instance.this.address
}

output "port" {
  description = "TCP port to connect to."
  value       = aws_db_instance.this.port
}

output "name" {
  description = "Name of the database."
  value       = aws_db_instance.this.db_name
}

output "resource_id" {
  description = "Resource id that rds-db:connect is granted on: the proxy's (prx-...) where there is one, otherwise the instance's (db-...)."
  value       = local.proxied ? one(regex("(prx-[A-Za-z0-9]+)$", aws_db_proxy.this[0].arn)) : aws_db_instance.this.resource_id
}

output "instance_host" {
  description = "Host of the instance itself, which migrations connect to."
  value       = aws_db_instance.this.address
}

output "instance_resource_id" {
  description = "Resource id (db-...) of the instance itself."
  value       = aws_db_instance.this.resource_id
}

output "master_secret_arn" {
  description = "Secret with the master user's name and password, kept and rotated by RDS (ARN). Empty where RDS keeps none, as on an emulator."
  value       = try(aws_db_instance.this.master_user_secret[0].secret_arn, "")
}

output "kms_key_arn" {
  description = "Key that the database and its secret are encrypted with (ARN)."
  value       = aws_kms_key.this.arn
}
