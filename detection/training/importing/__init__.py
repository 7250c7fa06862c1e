"""From a model that somebody else made to a folder that the engine serves.

Run as a program of its own by ``manage.py import_model``, so that what a foreign file does to TensorFlow ends with it.
"""
