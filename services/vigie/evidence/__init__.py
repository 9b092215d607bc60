"""Evidence: requests, approvals, packages that verify offline, custody."""
