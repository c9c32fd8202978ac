"""The parts of the CSV reader: titles, rows and files of classes."""
