"""Where the company's accounts live: `source.py` is the seam, `opening.py` opens them."""
