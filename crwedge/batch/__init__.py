"""Many recorded videos: plan them, follow each as `crwedge track` does, and keep one manifest of all.

Read in this order: `job` (what is done with one video), `plan` (which videos there are), `runner` (one video), `pool` and
`ray_pool` (many of them), `manifest` (what came of each), `driver` (all of it together).
"""
