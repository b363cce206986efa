"""Other people's descriptions of servers, made into profiles.

base.py has what all formats share; one file a format says what its keys become; detect.py knows a format by its
content. Nothing here asks, prints, or writes, but for bundle.py, which unpacks.
"""
