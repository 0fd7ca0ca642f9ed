"""Where label maps go: pictures, JSON Lines, video, a window, MQTT."""
