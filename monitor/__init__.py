"""The daemon: MQTT topics in, alerts and metrics out."""
