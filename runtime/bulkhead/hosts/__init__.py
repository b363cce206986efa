"""The configurations of hosts: which servers they start, which secrets lie open in them, and how both are changed.

base.py has the hosts and where they keep what; one file a format gives values with their places in the text; secrets.py
finds secrets; wrapping.py says what would change; files.py changes it, and changes it back.
"""
