"""Protocols: a short name for everything that decides a number, so that like meets like.

Two numbers of the same measure may be set side by side if their protocols are the same:
`ssim/1/5e0c2a917b34` is the measure, the version of its formula, and a hash of its constants, the
window, what counts as lesion, how patients are drawn, and so on. The data are no part of it, but
what was fitted to them is: a window from the real set's percentiles is another for another real
set. Declare a window to compare reports of several sets.
"""

from __future__ import annotations
