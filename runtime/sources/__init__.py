"""Where frames come from: pictures, video files, cameras, network streams."""
