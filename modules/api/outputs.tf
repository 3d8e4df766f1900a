output "id" {
  description = "Id of the API, a dimension of its metrics."
  value       = aws_apigatewayv2_api.this.id
}

output "stage_name" {
  description = "Name of the stage, a dimension of its metrics."
  value       = aws_apigatewayv2_stage.this.name
}

output "url" {
  description = "Address of the API with its stage."
  value       = aws_apigatewayv2_stage.this.invoke_url
}

output "function_name" {
  description = "Name of the api function."
  value       = module.function.name
}
