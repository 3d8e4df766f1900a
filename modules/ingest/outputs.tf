output "bucket_name" {
  description = "Landing bucket: put files under landing/<dataset>/."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "ARN of the landing bucket, for backups."
  value       = aws_s3_bucket.this.arn
}

output "bucket_metrics_id" {
  description = "Id of the bucket's request metrics of landing/, a dimension; empty without request_metrics."
  value       = var.request_metrics ? aws_s3_bucket_metric.this[0].name : ""
}

output "kms_key_arn" {
  description = "Key that bucket and queues are encrypted with (ARN); who puts files needs kms:GenerateDataKey on it."
  value       = aws_kms_key.this.arn
}

output "queue_name" {
  description = "Queue of the S3 events."
  value       = aws_sqs_queue.this.name
}

output "queue_url" {
  description = "Address of the queue."
  value       = aws_sqs_queue.this.url
}

output "dead_letter_queue_name" {
  description = "Queue of the events that failed every try."
  value       = aws_sqs_queue.dead_letter.name
}

output "dead_letter_queue_url" {
  description = "Address of the dead-letter queue, to look at it and to send it back."
  value       = aws_sqs_queue.dead_letter.url
}

output "function_name" {
  description = "Name of the ingest function."
  value       = module.function.name
}
