# The rules that come with tflint: no plugin to download. checkov and the provider's own validation do the rest.
config {
  call_module_type = "none"
}

plugin "terraform" {
  enabled = true
  preset  = "recommended"
}
