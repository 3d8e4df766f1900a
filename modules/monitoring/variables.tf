variable "name" {
  description = "Prefix of every name, project and environment: geodrop-dev. 3 to 24 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 3 to 24 lower-case letters, digits and single hyphens, beginning with a letter."
  }
}

variable "environment_name" {
  description = "Name of the environment: dev, prod. Dimension of the metrics that ingest writes."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment_name))
    error_message = "environment_name must be 2 to 12 lower-case letters and digits, beginning with a letter."
  }
}

variable "account_id" {
  description = "AWS account that the resources live in, 12 digits. Part of names and of the conditions in policies."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits."
  }
}

variable "region" {
  description = "AWS region that the resources live in: eu-central-1."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of an AWS region, such as eu-central-1."
  }
}

variable "subscribers" {
  description = "Who is told of alarms: addresses of e-mail (each must confirm once) or https:// endpoints."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for subscriber in var.subscribers : can(regex("^(https://[^ ]+|[^ @/]+@[^ @/]+[.][^ @/]+)$", subscriber))])
    error_message = "subscribers must be e-mail addresses or https:// endpoints."
  }
}

variable "production" {
  description = "True refuses settings that would put production's data or availability at risk: there must be a subscriber."
  type        = bool
  default     = false
  nullable    = false
}

variable "ingest" {
  description = "Names from the ingest module: function, queue, dead-letter queue, landing bucket and the id of its request metrics (empty: there are none, and no alarm on lost events)."
  type = object({
    function_name          = string
    queue_name             = string
    dead_letter_queue_name = string
    bucket_name            = string
    bucket_metrics_id      = string
  })
  nullable = false
}

variable "api" {
  description = "Names from the api module: API id, stage and function."
  type = object({
    id            = string
    stage_name    = string
    function_name = string
  })
  nullable = false
}

variable "database" {
  description = "From the database module: the instance's identifier."
  type = object({
    identifier = string
  })
  nullable = false
}

variable "backup" {
  description = "From the backup module: the vault's name."
  type = object({
    vault_name = string
  })
  nullable = false
}

variable "thresholds" {
  description = "When alarms go off: age of the oldest message (s), API answers of 5xx (percent) and p95 latency (ms), database CPU (percent), free disk (GiB) and connections (number)."
  type = object({
    oldest_message_s     = optional(number, 900)
    api_5xx_percent      = optional(number, 1)
    api_p95_ms           = optional(number, 1000)
    database_cpu_percent = optional(number, 80)
    database_free_gib    = optional(number, 5)
    database_connections = optional(number, 80)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for value in values(var.thresholds) : value > 0])
    error_message = "thresholds must be greater than zero."
  }

  validation {
    condition     = var.thresholds.api_5xx_percent <= 100 && var.thresholds.database_cpu_percent <= 100
    error_message = "thresholds in percent must be at most 100."
  }
}
