output "topic_arn" {
  description = "Topic that all alarms notify (ARN)."
  value       = aws_sns_topic.this.arn
}

output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "Names of the alarms made here."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.expression : alarm.alarm_name],
    [aws_cloudwatch_metric_alarm.ingest_errors.alarm_name],
  ))
}
