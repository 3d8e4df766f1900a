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

variable "cidr" {
  description = "Address range of the VPC, /16 to /24. Each subnet takes a sixteenth of it."
  type        = string
  default     = "10.20.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.cidr)) && can(regex("/(1[6-9]|2[0-4])$", var.cidr))
    error_message = "cidr must be an IPv4 range between /16 and /24, such as 10.20.0.0/16."
  }

  validation {
    condition     = can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", var.cidr))
    error_message = "cidr must be a private range: 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones to spread over, two or three: [\"eu-central-1a\", \"eu-central-1b\"]. Append only: a subnet's range follows from its zone's place in the list."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must be two or three different availability zones."
  }
}

variable "nat_per_zone" {
  description = "True gives each zone a NAT gateway, so that losing a zone does not cut off the others; false shares one, which costs a half or a third."
  type        = bool
  default     = false
  nullable    = false
}

variable "production" {
  description = "True refuses settings that would put production's data or availability at risk: there must be a NAT gateway in each zone."
  type        = bool
  default     = false
  nullable    = false
}

variable "database_port" {
  description = "TCP port that the functions reach the database on."
  type        = number
  default     = 5432
  nullable    = false

  validation {
    condition     = var.database_port >= 1024 && var.database_port <= 65535
    error_message = "database_port must be 1024 to 65535."
  }
}

variable "interface_endpoints" {
  description = "AWS services reached by an interface endpoint and not through NAT: [\"secretsmanager\"]. Each costs by zone and hour. S3 always has its gateway endpoint, which is free."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z0-9.-]+$", service)) && !contains(["s3", "dynamodb"], service)])
    error_message = "interface_endpoints must be short names of services, such as secretsmanager; s3 has a gateway endpoint already."
  }
}

variable "log_retention_days" {
  description = "How long the flow logs are kept (days)."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}
