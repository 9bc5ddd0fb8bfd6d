"""The mock experiment: events that look enough like real ones to try everything on."""
