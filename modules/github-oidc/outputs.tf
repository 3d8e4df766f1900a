output "plan_role_arn" {
  description = "Role for plans on pull requests: reads, and changes nothing (ARN)."
  value       = aws_iam_role.plan.arn
}

output "apply_role_arn" {
  description = "Role for applies from the one environment or branch (ARN)."
  value       = aws_iam_role.apply.arn
}
