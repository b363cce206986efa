"""urls.py [NAME]: prints the URLs of pip's indexes, and of the hosts on which these say that a package's files are.

Of several indexes one may not know the package, and have those that it needs. So all are asked for pip as well, which
every public index has.
"""

import sys
from urllib.parse import urlsplit

from pip._internal.commands.install import InstallCommand

command = InstallCommand("install", "")
options, _ = command.parse_args([])
print(options.index_url, *options.extra_index_urls)
names = sys.argv[1:]
if names and options.extra_index_urls:
    names.append("pip")
with command._build_session(options) as session:
    finder = command._build_package_finder(options, session)
    urls = [urlsplit(found.link.url) for name in names for found in finder.find_all_candidates(name)]
print(*{f"{url.scheme}://{url.netloc.rpartition('@')[2]}" for url in urls})
