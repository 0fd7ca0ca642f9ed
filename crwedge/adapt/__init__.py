"""Test-time training (appendix H): the encoder goes on learning from the video that is being tracked."""
