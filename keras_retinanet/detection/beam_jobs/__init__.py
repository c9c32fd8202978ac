"""Detection as a job of Apache Beam. Only modules that need Beam import what is here."""
