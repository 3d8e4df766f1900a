"""geodrop: files of places and times in S3 become aggregates in PostGIS.

The way of a file through this package:

``events`` (what happened to which object) -> ``contract`` (which dataset, what a row must be)
-> ``objects`` (bytes from S3) -> ``readers`` (bytes to rows) -> ``checker`` (rows to COPY lines or rejects)
-> ``load`` (one transaction into PostGIS) -> ``query`` (parameters to SQL) -> ``api`` (HTTP).
"""

__version__ = "0.1.0"
