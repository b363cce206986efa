"""Phrases that ask for what is none of the tool's business, or bend what other tools do. phrases.py reads them.

A row: rule, level, heads, and the rest of the pattern, in which "%3 " is up to three words and %file, %keys and others
are below.
"""

from __future__ import annotations

from typing import Literal

GIVE = (
    "include|pass|send|put|copy|paste|provide|append|attach|insert|supply|forward|dump|embed|transmit"
    "|upload|post|share|submit|add|place|fill|write|encode|prepend|set|exfiltrate|leak|give|return"
    "|output|print|store|save|report|smuggle"
)
_TAKE = (
    "read|open|cat|fetch|load|access|retrieve|get|extract|grab|collect|gather|scan|search|find|locate|list|look|check"
)
_BEGIN = "before|prior|first|always|must|should|shall|whenever|when|every|each|after|once|until|unless"

PARTS = {
    "tools": ("(?:tools?|functions?|servers?|actions?)"),
    "address": (r"(?:https?://|[\w.+-]{1,64}+@[\w-]{1,64}+\.\w|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d|0x[0-9a-f]{6})"),
    "gap": (r"(?:(?!\be\.g|\bexample|\bsuch as|\bpath\b|\bdefault|\blocation|\blike\b)[^!?])"),
    "keys": (
        "(?:api keys?|passwords?|credentials?|(?:access |auth |session |bearer |api )?tokens?|secrets?"
        "|private keys?|ssh keys?|seed phrases?|mnemonics?|recovery phrases?|(?:session )?cookies?|credit"
        " cards?|card numbers?|access keys?)"
    ),
    "file": (
        r"(?:id-(?:rsa|dsa|ed25519|ecdsa)\b|\.ssh\b(?!/(?:config|known|authorized))|\.aws/credentials"
        r"|/?\betc/(?:shadow|passwd)\b|\.git-credentials|\.netrc|\.gnupg|wallet\.dat|\.?(?:bash|zsh)-history"
        r"|\bmcp\.json|claude-desktop-config|\.npmrc|\.pypirc|\.docker/config|\.kube/config|cookies\.sqlite"
        r"|\blogin data\b|\bkeychain\b|\.pgpass|[\w-]*credentials\.json|\.config/gcloud\b|service-account\S{0,20}\.json"
        r"|\bsecrets?\.(?:ya?ml|json|toml|env)\b"
        r"|\bssh keys?\b|\bprivate keys?\b(?! path))"
    ),
    "env": (r"(?:(?<![\w*])\.env\b(?!\.(?:example|sample|template))|\benv file\b|\bdotenv\b)"),
}

ROWS: tuple[tuple[str, Literal["hold", "tell"], str, str], ...] = (
    (
        "secrets",
        "hold",
        f"{GIVE}|{_TAKE}",
        r" %gap{0,80}?%file(?!\s*(?:path|file path|name|format|auth))",
    ),
    (
        "secrets",
        "hold",
        "content|contents|text|body|values|lines",
        r" (?:of|from|in|inside) %gap{0,60}?(?:%file|%env)(?! (?:file )?to (?:write|be written|create|save|generate))",
    ),
    (
        "secrets",
        "hold",
        f"{GIVE}|{_TAKE}",
        r" %gap{0,60}?%env[^.!?]{0,60}?\b(?:contents?|arguments?|parameters?|param|field|verbatim|base64"
        r"|(?:and|then) (?:pass|send|include|put|post|append|attach|upload))\b",
    ),
    (
        "secrets",
        "tell",
        _TAKE,
        " %gap{0,40}?%env",
    ),
    (
        "secrets",
        "hold",
        f"{GIVE}|{_TAKE}",
        r" %4 (?:any|all|every|found|available|known|stored|saved|other|whatever|visible|user s|their|his"
        r"|her) %3 %keys %5 (?:you|found|available|seen|visible|in (?:the |your |this )?(?:context"
        r"|conversation|chat|environment|memory|session|history|workspace|project|repo\w*|files?|argument"
        r"|parameter|field|note\w*|query|url)|as (?:an? |the )?(?:argument|parameter|field|value)|to (?:this"
        r"|the) tool|here|into|along|with (?:each|every))\b",
    ),
    (
        "secrets",
        "tell",
        GIVE,
        " %3 (?:any|all|every|user|user s|their) %3 %keys",
    ),
    (
        "secrets",
        "hold",
        f"{GIVE}|{_TAKE}",
        r" %4 (?:all|full|entire|every|complete|current|your|users?|process|available|whole|output of) %4"
        r" ?(?:environment variables?|env vars?|environment|env|printenv|process env|os"
        r" environ)\b[^.!?]{0,60}?\b(?:arguments?|parameters?|param|field|this tool|tool call|every call|each"
        r" call|request|note|sidenote|context|query|url|header)\b",
    ),
    (
        "secrets",
        "tell",
        GIVE,
        r" %4 (?:environment variables?|env vars?|printenv|process env|os environ)\b",
    ),
    (
        "steering",
        "tell",
        _BEGIN,
        r" %4 (?:using|calling|invoking|running|executing|use|call|called|used|invoke|run|invoked|doing"
        r"|answering|any|to) %5 ?(?:any|all|every|each|other|another|anything)(?: \w+)? %tools\b",
    ),
    (
        "steering",
        "tell",
        "this|call|use|run|invoke",
        r" %2 (?:tool |function )?%2 (?:must|should|needs?|has to|is required to|shall|always|tool)? ?(?:be"
        r" )?%2 ?(?:called|used|run|invoked|first|before) %3 (?:first|before (?:any|every|all|each|using"
        r"|calling|you|answering))\b",
    ),
    (
        "steering",
        "hold",
        "whenever|when|before|after|every|each|any",
        r" (?:time )?%2 (?:you |the (?:assistant|model|agent|user) )?(?:use|uses|call|calls|invoke|invokes"
        r"|run|runs|using|calling|invoking) %1 (?:any|another|other|every|each|all) (?:other )?%2 %tools\b %8"
        r" (?:also|read|append|include|pass|send|copy|attach|forward|insert|add|log|report|fetch|obey)\b",
    ),
    (
        "steering",
        "tell",
        "instead|rather|not|never|avoid|stop",
        r" (?:of |than )?(?:use |using |call |calling |invoke |rely on )?(?:the |any |your )?(?:other|built"
        r" in|builtin|default|official|native|existing|original|standard|competing) %3 %tools\b",
    ),
    (
        "steering",
        "hold",
        "other|others|another|all",
        r" (?:other )?%3 %tools (?:is|are|were|have been|has been|become|must be considered) %3 (?:deprecated"
        r"|broken|insecure|unsafe|unreliable|disabled|outdated|compromised|vulnerable|malicious|untrusted"
        r"|dangerous|fake|forbidden)\b",
    ),
    (
        "steering",
        "hold",
        "prefer|prioritize|prioritise|choose|favor|favour|select|priority|precedence|rank|superior|better|use",
        r" %4 (?:over|above|than|before) (?:all|any|every|the) (?:other|others|competing|alternative)\b(?!"
        r" (?:option|value|setting|field|argument|parameter|filter|way|method|match)s?\b)",
    ),
    (
        "secrets",
        "hold",
        "any|all|every",
        r" %2 %keys %1 (?:found|seen|visible|available|known|set|stored|mentioned|used) "
        r"%1 ?(?:in|on|by|to) (?:the |this |your |our )?"
        r"(?:workspace|context|conversation|chat|environment|project|repo\w*|memory|session|machine|files?|you"
        r"|model)\b",
    ),
    (
        "secrets",
        "hold",
        "user|users",
        r" s %1 (?:bank\w*|email|mail|online|private|master|root|wallet|main|personal|credit|card) %1 "
        r"(?:passwords?|pins?|credentials?|keys?|numbers?|logins?|tokens?)\b",
    ),
    (
        "steering",
        "hold",
        "route|direct|redirect|send|pass|give",
        r" (?:every|all|each|any) %4 (?:requests?|questions?|calls?|tasks?|work|queries) %4 to this (?:server|tool)\b",
    ),
    (
        "redirect",
        "hold",
        "add|include|put|insert|append|copy",
        r" [\w.+-]{1,64}+@[\w-]{1,64}+\.\w+ %2 (?:to|as|in|into|on) %3 (?:cc|bcc|recipients?|copy|every|each"
        r"|all|any)\b",
    ),
    (
        "steering",
        "hold",
        "before|whenever|when|after|once",
        r" (?:any|every|another|each|some) (?:other )?%tools (?:is|are|gets?|has been) "
        r"(?:used|called|invoked|run|chosen)\b"
        r" %8 (?:call|calls|add|include|pass|send|use|invoke|this one|this tool)\b",
    ),
    (
        "steering",
        "hold",
        "not|never|stop|avoid",
        r" %1 (?:use|using|call|calling|trust|rely|invoke|accept) %5 (?:of|from|by|on|in) "
        r"(?:other|another|any other|different|competing) %1 (?:servers?|providers?|vendors?|sources|plugins?)\b",
    ),
    (
        "steering",
        "hold",
        "preferred|prioritized|favored|favoured|prioritised|chosen|trusted",
        r" %2 (?:over|above|before|instead of) (?:all|any|every) (?:other|others)\b",
    ),
    (
        "redirect",
        "hold",
        "mails|mail|emails|email|messages|payments|payment|transfers|invoices|replies|requests",
        r" %5 (?:have to|has to|must|should|need to|needs to|are to|shall) %2 "
        r"(?:go|sent|routed|pass|forwarded|paid|copied) "
        r"%2 (?:through|via|to|by|over) %2 ?%address",
    ),
    (
        "redirect",
        "hold",
        "change|set|replace|redirect|modify|rewrite|substitute|swap|alter|add|include|put|use|switch|cc|bcc",
        r" %4 (?:recipients?|bcc|cc|destination|iban|wallet|payee|beneficiary|account number|receiver"
        r"|recipient address|to field|to address|repository url|remote|endpoint)\b%gap{0,50}?%address",
    ),
    (
        "redirect",
        "hold",
        "bcc|cc",
        " %5 (?:me|us|copy|every|all|each)?[^!?]{0,20}?%address",
    ),
    (
        "redirect",
        "hold",
        "all|every|any|each",
        r" (?:outgoing |future |subsequent |other )?(?:e ?mails?|messages?|mails?|payments?|transfers?"
        r"|transactions?|documents?|invoices?|commits?|traffic|replies|answers?|conversations?) %3 (?:must"
        r"|should|shall|need|have|has|are|be|to|gets?) %4 (?:sent|forwarded|copied|bcc|redirected|routed"
        r"|addressed|proxied|go|posted|mirrored|delivered|cc|paid|uploaded)\b %3 (?:to|through|via|at)\b",
    ),
    (
        "exfiltration",
        "hold",
        "send|post|forward|upload|transmit|exfiltrate|submit|mirror|deliver|copy|email|mail|leak|ship|push"
        "|pipe|log|report|get|request|load|fetch|visit|open|call|ping|append|encode",
        r" (?:it|them|this|that|everything|all|%5 (?:results?|contents?|conversation|credentials?|keys?"
        r"|tokens?|passwords?|secrets?|history|data|prompts?|context|response|answer|transcript|messages?"
        r"|emails?|copy|summary|environment|notes?|findings|output|code|source|documents?"
        r"|files?)\b)%gap{0,50}?\b(?:to|at|from|with|in|via|onto|into|as)\b%gap{0,30}?%address",
    ),
    (
        "exfiltration",
        "tell",
        "send|post|forward|upload|transmit|submit|report|email|mail",
        r"%gap{0,60}?\bto %gap{0,20}?%address",
    ),
    (
        "command",
        "hold",
        "curl|wget",
        r"\s[^|\n]{0,120}?\|\s{0,4}(?:sudo )?(?:ba|z|da)?sh\b",
    ),
    (
        "command",
        "tell",
        "run|execute|type|exec",
        r" %4(?:rm -rf|chmod 777|nc -|bash -i|bash -c|sudo |eval\b|powershell)",
    ),
    (
        "command",
        "hold",
        "bash|nc|ncat|python",
        r"\s(?:-\w+ ){0,3}(?:>& ?/dev/tcp/|-e /bin/|.{0,20}/dev/tcp/)",
    ),
)
