"""One report on synthetic data: does it help, is it faithful, does it leak, can experts tell?"""
