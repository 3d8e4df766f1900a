variable "name" {
  description = "Prefix of every name, project and environment: geodrop-dev. 3 to 24 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 3 to 24 lower-case letters, digits and single hyphens, beginning with a letter."
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

variable "account_id" {
  description = "AWS account that the resources live in, 12 digits. Part of names and of the conditions in policies."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits."
  }
}

variable "subnet_ids" {
  description = "Database subnets, in at least two zones. They have no route to the internet."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2
    error_message = "subnet_ids must name at least two subnets, each in a zone of its own."
  }
}

variable "security_group_id" {
  description = "Security group of the database, which admits the functions alone."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.security_group_id, "sg-")
    error_message = "security_group_id must be the id of a security group (sg-...)."
  }
}

variable "port" {
  description = "TCP port that PostgreSQL listens on; the network module's rules must admit it."
  type        = number
  default     = 5432
  nullable    = false

  validation {
    condition     = var.port >= 1150 && var.port <= 65535
    error_message = "port must be 1150 to 65535, as RDS asks."
  }
}

variable "engine_version" {
  description = "PostgreSQL version: a major one (\"16\", minor upgrades are automatic) or an exact one (\"16.4\")."
  type        = string
  default     = "16"
  nullable    = false

  validation {
    condition     = can(regex("^(15|16|17)([.][0-9]+)?$", var.engine_version))
    error_message = "engine_version must be PostgreSQL 15, 16 or 17, with or without a minor version."
  }
}

variable "instance_class" {
  description = "Size of the instance: db.t4g.small."
  type        = string
  default     = "db.t4g.small"
  nullable    = false

  validation {
    condition     = can(regex("^db[.][a-z0-9]+[.][a-z0-9]+$", var.instance_class))
    error_message = "instance_class must be an RDS instance class, such as db.t4g.small."
  }
}

variable "storage" {
  description = "Disk to begin with and the limit that it grows to by itself (GiB, gp3)."
  type = object({
    allocated_gib = optional(number, 20)
    maximum_gib   = optional(number, 100)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.storage.allocated_gib >= 20 && var.storage.allocated_gib <= 65536
    error_message = "storage.allocated_gib must be 20 to 65536."
  }

  validation {
    condition     = var.storage.maximum_gib >= var.storage.allocated_gib * 1.1 && var.storage.maximum_gib <= 65536
    error_message = "storage.maximum_gib must be at least a tenth more than storage.allocated_gib, as RDS asks, and at most 65536."
  }
}

variable "multi_az" {
  description = "True keeps a standby in another zone, which takes over when the instance or its zone fails."
  type        = bool
  default     = true
  nullable    = false
}

variable "deletion_protection" {
  description = "True refuses to delete the instance, by any way, until it is set to false and applied."
  type        = bool
  default     = true
  nullable    = false
}

variable "final_snapshot" {
  description = "True takes a last snapshot before the instance is deleted, and keeps its automatic backups until they expire."
  type        = bool
  default     = true
  nullable    = false
}

variable "backup_retention_days" {
  description = "How long RDS keeps its automatic backups, which allow recovery to any second (days, 1 to 35). Once the backup module's continuous rule covers the instance, that rule's retention holds and this one is ignored."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35."
  }
}

variable "production" {
  description = "True refuses settings that would put production's data or availability at risk: multi_az, deletion_protection, final_snapshot and at least 7 days of backups."
  type        = bool
  default     = false
  nullable    = false
}

variable "logs" {
  description = "Key that encrypts PostgreSQL's log (ARN), and how long it is kept (days)."
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

variable "proxy_secret_arns" {
  description = "Secrets (username, password) of the roles that connect through an RDS Proxy. Empty: no proxy. The README says what a proxy asks of the roles."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.proxy_secret_arns : can(regex("^arn:[a-z-]+:secretsmanager:", arn))])
    error_message = "proxy_secret_arns must be ARNs of Secrets Manager secrets."
  }
}
