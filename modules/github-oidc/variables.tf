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

variable "repository" {
  description = "GitHub repository whose workflows may take the roles: owner/name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository must be owner/name, without wildcards."
  }
}

variable "main_branch" {
  description = "Branch whose scheduled workflows take the plan role to look for drift."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.main_branch))
    error_message = "main_branch must be the name of a branch, without wildcards."
  }
}

variable "apply_from" {
  description = "Where a workflow must run to take the apply role: a GitHub environment or a branch, exactly one of them."
  type = object({
    environment = optional(string, "")
    branch      = optional(string, "")
  })
  nullable = false

  validation {
    condition     = (var.apply_from.environment == "") != (var.apply_from.branch == "")
    error_message = "apply_from needs either environment or branch."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]*$", "${var.apply_from.environment}${var.apply_from.branch}"))
    error_message = "apply_from must not hold wildcards or spaces."
  }
}

variable "state_bucket" {
  description = "Name of the bucket with the Terraform state: the plan role reads it, and no other data."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be the name of a bucket."
  }
}

variable "create_provider" {
  description = "False where the account already has GitHub's OIDC provider: an account holds one."
  type        = bool
  default     = true
  nullable    = false
}
