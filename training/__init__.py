"""How the embedded model `sam2_nano` was trained; not installed with the package."""
