variable "name" {
  description = "Prefix of every name, project and environment: geodrop-dev. 3 to 24 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 3 to 24 lower-case letters, digits and single hyphens, beginning with a letter."
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

variable "resource_arns" {
  description = "What is backed up: ARNs of the database and of the landing bucket."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.resource_arns) > 0 && alltrue([for arn in var.resource_arns : can(regex("^arn:[a-z-]+:(rds|s3):", arn))])
    error_message = "resource_arns must be ARNs of RDS instances and S3 buckets, at least one."
  }
}

variable "daily" {
  description = "The daily backup: when it starts (UTC, AWS cron expression) and how long it is kept (days)."
  type = object({
    schedule       = optional(string, "cron(0 2 * * ? *)")
    retention_days = optional(number, 35)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^cron\\(([^ ]+ ){5}[^ ]+\\)$", var.daily.schedule))
    error_message = "daily.schedule must be an AWS cron expression of six fields, such as cron(0 2 * * ? *)."
  }

  validation {
    condition     = var.daily.retention_days >= 1 && var.daily.retention_days <= 3650
    error_message = "daily.retention_days must be 1 to 3650."
  }
}

variable "continuous_retention_days" {
  description = "How far back the database and the bucket can be put to any second (days, 1 to 35)."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.continuous_retention_days >= 1 && var.continuous_retention_days <= 35
    error_message = "continuous_retention_days must be 1 to 35."
  }
}

variable "vault_lock" {
  description = "Lock of the vault: nobody may delete a backup younger than minimum_days, or keep one longer than maximum_days. compliance_after_days (at least 3) makes the lock itself irrevocable that many days after the apply; 0 leaves it to be lifted by those with the right. enabled = false only where vaults cannot be locked, as on an emulator."
  type = object({
    enabled               = optional(bool, true)
    minimum_days          = optional(number, 7)
    maximum_days          = optional(number, 3650)
    compliance_after_days = optional(number, 0)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.vault_lock.minimum_days >= 1 && var.vault_lock.maximum_days >= var.vault_lock.minimum_days
    error_message = "vault_lock.minimum_days must be at least 1 and at most vault_lock.maximum_days."
  }

  validation {
    condition     = var.vault_lock.compliance_after_days == 0 || var.vault_lock.compliance_after_days >= 3
    error_message = "vault_lock.compliance_after_days must be at least 3, as AWS Backup asks, or 0."
  }
}

variable "copy" {
  description = "Vault in a second region (ARN) that each daily backup is copied to, and how long the copy is kept (days). An empty vault_arn: no copies."
  type = object({
    vault_arn      = optional(string, "")
    retention_days = optional(number, 35)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:backup:[a-z0-9-]+:[0-9]{12}:backup-vault:.+)?$", var.copy.vault_arn))
    error_message = "copy.vault_arn must be the ARN of a backup vault, or empty."
  }
}

variable "logical" {
  description = "Logical backups: the function that writes them to this module's bucket (ARN; empty while there is none, and then nothing is scheduled), when (UTC, AWS cron expression), and how long they are kept (days)."
  type = object({
    function_arn   = optional(string, "")
    schedule       = optional(string, "cron(30 3 * * ? *)")
    retention_days = optional(number, 90)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:lambda:.+)?$", var.logical.function_arn))
    error_message = "logical.function_arn must be the ARN of a function, or empty."
  }

  validation {
    condition     = can(regex("^cron\\(([^ ]+ ){5}[^ ]+\\)$", var.logical.schedule))
    error_message = "logical.schedule must be an AWS cron expression of six fields, such as cron(30 3 * * ? *)."
  }

  validation {
    condition     = var.logical.retention_days >= 1
    error_message = "logical.retention_days must be at least 1."
  }
}

variable "force_destroy" {
  description = "True lets destroy delete the vault and the bucket with every backup in them."
  type        = bool
  default     = false
  nullable    = false
}

variable "production" {
  description = "True refuses settings that would put production's data or availability at risk: force_destroy must be off and the vault locked."
  type        = bool
  default     = false
  nullable    = false
}
