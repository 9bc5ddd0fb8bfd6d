"""Run work somewhere: plan, dispatcher, attempt, payload, supervisor, gateway."""
