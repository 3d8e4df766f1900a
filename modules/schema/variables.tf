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

variable "sql" {
  description = "Folder of the migrations, NNNN_name.sql. The function runs again when any of them changes."
  type        = string
  nullable    = false

  validation {
    condition     = length(fileset(var.sql, "*.sql")) > 0 && alltrue([for file in fileset(var.sql, "*.sql") : can(regex("^[0-9]{4}_[a-z0-9_]+[.]sql$", file))])
    error_message = "sql must be a folder of migrations, each named NNNN_name.sql."
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

variable "master_secret" {
  description = "The secret that RDS keeps for the master user (ARN), and the key it is encrypted with (ARN). Both empty: the function signs in as function.json's database_user, as on an emulator."
  type = object({
    arn         = string
    kms_key_arn = string
  })
  default = {
    arn         = ""
    kms_key_arn = ""
  }
  nullable = false

  validation {
    condition     = (var.master_secret.arn == "") == (var.master_secret.kms_key_arn == "")
    error_message = "master_secret needs both arn and kms_key_arn, or neither."
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
