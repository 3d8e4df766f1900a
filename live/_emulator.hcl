# What differs on an emulated AWS: every switch, and why. On AWS each has its right-hand side.
# AWS_ENDPOINT_URL set means that an emulator is there; nothing else may turn these switches.

locals {
  on = get_env("AWS_ENDPOINT_URL", "") != ""

  # An S3 of one's own answers on one address, not on one a bucket.
  own_s3 = local.on || get_env("AWS_ENDPOINT_URL_S3", "") != ""

  # The emulated RDS starts nothing: its endpoint is this machine, and a PostGIS must listen there on this port.
  database_port = local.on ? tonumber(get_env("GEODROP_EMULATOR_DATABASE_PORT", "5432")) : 5432

  # That PostGIS has no certificate. The modules take "disable" for a database on this machine only.
  sslmode = local.on ? "disable" : "verify-full"

  # An X-Ray call makes the emulator take 400 MB for good.
  tracing = local.on ? "PassThrough" : "Active"

  # S3's request metrics are not emulated, and with them falls the alarm on lost S3 events.
  request_metrics = !local.on

  # Locks of backup vaults are not emulated.
  vault_lock = !local.on

  # An emulator is thrown away: both environments can be destroyed there at once, data included. Prod's module checks
  # (`production`) insist on the opposite, so they are off too; plans without an emulator show them on.
  overrides = {
    for name, value in {
      production          = false
      deletion_protection = false
      final_snapshot      = false
      force_destroy       = true
      prevent_destroy     = false
    } : name => value if local.on
  }
}
