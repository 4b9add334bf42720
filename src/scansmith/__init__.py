"""Make labelled medical images with published GANs, and measure whether they help.

Research use. Not a medical device.
"""

__version__ = "0.1.0.dev0"
