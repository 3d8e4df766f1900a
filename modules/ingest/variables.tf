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
  description = "Name of the environment: dev, prod. Dimension of the metrics."
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

variable "package" {
  description = "Path of the function's zip, built by functions/build.py."
  type        = string
  nullable    = false

  validation {
    condition     = endswith(var.package, ".zip") && fileexists(var.package)
    error_message = "package must be the path of a zip that exists: run `python functions/build.py` first."
  }
}

variable "definition" {
  description = "Path of the function's function.json: handler, runtime, memory (MB), timeout (s), database user, environment names, trigger."
  type        = string
  nullable    = false

  validation {
    condition     = try(jsondecode(file(var.definition)).handler, "") != ""
    error_message = "definition must be the path of a function.json with at least a handler."
  }
}

variable "network" {
  description = "Where the function runs: private subnets of two or three zones, and the security group of the functions."
  type = object({
    subnet_ids        = list(string)
    security_group_id = string
  })
  nullable = false

  validation {
    condition     = length(distinct(var.network.subnet_ids)) >= 2
    error_message = "network.subnet_ids must name at least two subnets, each in a zone of its own."
  }

  validation {
    condition     = startswith(var.network.security_group_id, "sg-")
    error_message = "network.security_group_id must be the id of a security group (sg-...)."
  }
}

variable "database" {
  description = "The database to connect to: host, port, name, resource id (db-... or prx-...) that rds-db:connect is granted on, and the sslmode of the connection. sslmode is verify-full except on an emulator, whose database has no certificate."
  type = object({
    host        = string
    port        = optional(number, 5432)
    name        = optional(string, "geodrop")
    resource_id = string
    sslmode     = optional(string, "verify-full")
  })
  nullable = false

  validation {
    condition     = contains(["verify-full", "disable"], var.database.sslmode)
    error_message = "database.sslmode must be verify-full, or disable for a database on this machine."
  }

  validation {
    condition     = var.database.sslmode == "verify-full" || contains(["127.0.0.1", "localhost", "::1"], var.database.host)
    error_message = "database.sslmode may be disable only for a database on this machine (127.0.0.1, localhost)."
  }

  validation {
    condition     = can(regex("^(db|prx)-[A-Za-z0-9]+$", var.database.resource_id))
    error_message = "database.resource_id must be a DbiResourceId (db-...) or a proxy's id (prx-...)."
  }
}

variable "maximum_concurrency" {
  description = "Batches worked on at a time, which is also the most database connections that ingest holds. 2 to 1000."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "maximum_concurrency must be 2 to 1000, as Lambda asks."
  }
}

variable "reserved_concurrency" {
  description = "Executions at a time kept for this function, which is also its limit. -1: no reservation; maximum_concurrency limits the queue all the same. The account must keep 100 unreserved."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.reserved_concurrency == -1 || (var.reserved_concurrency >= 1 && var.reserved_concurrency <= 900)
    error_message = "reserved_concurrency must be 1 to 900, or -1 to take from what the account has unreserved."
  }
}

variable "lifecycle_days" {
  description = "When an object moves to cheaper storage, and when a version that was replaced or deleted goes for good (days)."
  type = object({
    infrequent_access = optional(number, 90)
    noncurrent        = optional(number, 90)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.lifecycle_days.infrequent_access >= 30
    error_message = "lifecycle_days.infrequent_access must be at least 30, as S3 asks."
  }

  validation {
    condition     = var.lifecycle_days.noncurrent >= 1
    error_message = "lifecycle_days.noncurrent must be at least 1."
  }
}

variable "request_metrics" {
  description = "True counts the requests under landing/, which the alarm on lost events compares with the queue. False only where S3 has no such metrics, as on an emulator."
  type        = bool
  default     = true
  nullable    = false
}

variable "force_destroy" {
  description = "True lets destroy delete the landing bucket with everything in it."
  type        = bool
  default     = false
  nullable    = false
}

variable "production" {
  description = "True refuses settings that would put production's data or availability at risk: force_destroy must be off and replaced versions kept for at least 30 days."
  type        = bool
  default     = false
  nullable    = false
}

variable "logs" {
  description = "Key that encrypts the function's log (ARN), and how long it is kept (days)."
  type = object({
    kms_key_arn    = string
    retention_days = optional(number, 365)
  })
  nullable = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.logs.kms_key_arn))
    error_message = "logs.kms_key_arn must be the ARN of a KMS key."
  }

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.logs.retention_days)
    error_message = "logs.retention_days must be a period CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "tracing" {
  description = "X-Ray mode of the function: Active, or PassThrough where there is no X-Ray."
  type        = string
  default     = "Active"
  nullable    = false

  validation {
    condition     = contains(["Active", "PassThrough"], var.tracing)
    error_message = "tracing must be Active or PassThrough."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic that the function's alarms notify (ARN). It may be made later, by the monitoring module: its name is known beforehand."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of an SNS topic."
  }
}
