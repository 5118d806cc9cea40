"""Other people's folders. One file is one kind: it defines ``CONVERSION``, see ``interop/conversion.py``."""
