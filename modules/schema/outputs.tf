output "version" {
  description = "Number of the newest migration of this version, which the database has: 0001."
  value       = jsondecode(aws_lambda_invocation.this.result).current
}

output "function_name" {
  description = "Name of the migrate function, to run a check by hand."
  value       = module.function.name
}
