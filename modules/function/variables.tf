variable "name" {
  description = "Name of the function, its role and its log group: geodrop-dev-ingest. 3 to 40 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 3 to 40 lower-case letters, digits and single hyphens, beginning with a letter."
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

variable "environment" {
  description = "Environment variables: exactly those that function.json names under environment. No secrets."
  type        = map(string)
  nullable    = false
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

variable "database_resource_id" {
  description = "Resource id (db-... or prx-...) of the database that the function signs in to with an IAM token, as the database_user of function.json. Empty: the function has no such right."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((db|prx)-[A-Za-z0-9]+)?$", var.database_resource_id))
    error_message = "database_resource_id must be a DbiResourceId (db-...), a proxy's id (prx-...) or empty."
  }
}

variable "statements" {
  description = "What else the function may do: IAM statements, each with its sid, actions, resources (ARNs) and conditions."
  type = list(object({
    sid       = string
    actions   = list(string)
    resources = list(string)
    conditions = optional(list(object({
      test     = string
      variable = string
      values   = list(string)
    })), [])
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for statement in var.statements : !contains(statement.resources, "*") && alltrue([for action in statement.actions : !endswith(action, "*")])])
    error_message = "statements must name actions and resources, without a wildcard for all."
  }
}

variable "reserved_concurrency" {
  description = "Executions at a time kept for this function, which is also its limit. -1: no limit of its own. The account must keep 100 unreserved."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.reserved_concurrency == -1 || (var.reserved_concurrency >= 1 && var.reserved_concurrency <= 900)
    error_message = "reserved_concurrency must be 1 to 900, or -1 to take from what the account has unreserved."
  }
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
