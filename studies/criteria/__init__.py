"""Does a score computed before training rank plans as training does?"""
