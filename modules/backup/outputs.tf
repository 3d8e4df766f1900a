output "vault_name" {
  description = "Name of the vault, a dimension of its metrics."
  value       = aws_backup_vault.this.name
}

output "vault_arn" {
  description = "ARN of the vault."
  value       = aws_backup_vault.this.arn
}

output "bucket_name" {
  description = "Bucket of the logical backups."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "ARN of the bucket of the logical backups."
  value       = aws_s3_bucket.this.arn
}

output "kms_key_arn" {
  description = "Key that vault and bucket are encrypted with (ARN)."
  value       = aws_kms_key.this.arn
}
