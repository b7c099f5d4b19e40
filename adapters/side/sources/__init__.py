"""Where payloads of side streams come from: one file a kind."""
