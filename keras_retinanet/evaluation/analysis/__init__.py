"""Why a detector's figures are what they are: errors, thresholds, calibration, confusion."""
