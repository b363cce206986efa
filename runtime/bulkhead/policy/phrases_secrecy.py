"""Phrases that keep something from the user, or ask for what the user and the model said. Read by phrases.py.

A row: rule, level, heads, and the rest of the pattern, in which "%3 " is up to three words and %user is below.
"""

from __future__ import annotations

from typing import Literal

from bulkhead.policy.phrases_asks import GIVE

PARTS = {
    "user": (
        "(?:the |our |your )?(?:end )?(?:users?|humans?|person|customer|client|operator|owner|anyone|anybody"
        "|people|them)"
    ),
}

ROWS: tuple[tuple[str, Literal["hold", "tell"], str, str], ...] = (
    (
        "secrecy",
        "hold",
        "not|never",
        r" %1 (?:mention|reveal|disclose|say|explain|report|admit) (?:to|with) %user (?:that|what|why|how"
        r"|anything|this|it)\b",
    ),
    (
        "secrecy",
        "hold",
        "nobody|noone|none|one",
        r" %1 (?:has to|needs to|should|must|may|will|can) %1 (?:be told|know|notice|find out|learn)\b",
    ),
    (
        "secrecy",
        "hold",
        "act|behave|reply|answer|pretend",
        r" %2 (?:as if|as though|like|that) %2 nothing %3 (?:happened|was|changed|read|called|sent|but)\b",
    ),
    ("secrecy", "hold", "need", r" for %user to (?:hear|know|see|be told|learn|be aware|notice|find out)\b"),
    (
        "secrecy",
        "hold",
        "deny|denies",
        r" %1 (?:that (?:you|it|this|the)|having|ever|any knowledge|knowing|it was|calling)\b",
    ),
    (
        "secrecy",
        "hold",
        "leave|omit|exclude|strip|remove|drop",
        r" %4 (?:out of|from) %2 (?:anything you|what you (?:tell|say|show|report)"
        r"|your (?:answer|reply|response|summary|explanation|report|final))\b",
    ),
    (
        "secrecy",
        "hold",
        "not|never",
        r" %2 (?:tell|inform|alert|warn|inform) (?:%user)\b(?! (?:to|how|they|if|whether|which|when)\b)",
    ),
    (
        "secrecy",
        "hold",
        "not|never",
        r" %2 (?:let|allow) %user (?:to )?%1 (?:know|see|notice|find out|learn|realize|realise|suspect)\b",
    ),
    (
        "secrecy",
        "hold",
        "not|never",
        r" %1 notify %user (?:about|of|that) (?:this|it|the|these|any|you)\b",
    ),
    (
        "secrecy",
        "hold",
        "not|never",
        r" %1 (?:mention|reveal|disclose|discuss|explain|say|acknowledge|show|describe|expose|display|report"
        r"|speak|talk) %2 (?:this|it|that|these|those|anything|instructions?|step|reading|them|any of|what"
        r"|about)\b %6 (?:to|with)? ?%user\b",
    ),
    (
        "secrecy",
        "hold",
        "not|never",
        r" %1 (?:mention|reveal|disclose|discuss|acknowledge|admit) (?:that you|any of this|(?:this|it|them"
        r"|these) ?(?:[.!,;]|$|\b(?:to|in|at|even|step|instruction\w*|requirement|when|while|because"
        r"|under)\b)|these instructions|the existence)",
    ),
    (
        "secrecy",
        "hold",
        "without",
        r" %4 (?:knowledge|knowing|noticing|awareness|realizing|realising|suspecting|being (?:noticed|aware"
        r"|told|informed))\b",
    ),
    (
        "secrecy",
        "hold",
        "without",
        r" (?:ever )?(?:telling|informing|mentioning|alerting|warning|revealing|disclosing|saying|explaining)"
        r" %3 (?:%user|this|it|anything|that)\b",
    ),
    (
        "secrecy",
        "tell",
        "without",
        r" (?:ever )?(?:notifying|asking|showing|prompting|bothering|letting) %2 %user\b",
    ),
    (
        "secrecy",
        "hold",
        "hide|conceal|keep|kept|hidden|concealed|mask|withhold|invisible",
        r" %4 (?:from|to) %user\b(?! (?:table|id|list|pool|group|input|account|agent)s?\b)",
    ),
    (
        "secrecy",
        "hold",
        "keep|keeping",
        r" (?:this|it|these|them|that|everything|all of this|the (?:call|step|argument|parameter|request)) %4 "
        r"(?:secret|hidden|confidential|between us"
        r"|to yourself|out of (?:the|your) (?:answer|reply|response|summary|chat))\b",
    ),
    (
        "secrecy",
        "hold",
        "user|users|human|person|they",
        r" (?:must|should|does|do|need|needs|will|shall|is|are) not %2 (?:know|be told|be aware|be informed"
        r"|notice|find out|learn|be bothered|become aware|supposed to (?:see|know)|be shown this|see this"
        r"|aware of this)\b",
    ),
    (
        "secrecy",
        "hold",
        "secretly|covertly|surreptitiously|discreetly|stealthily|invisibly",
        r" (?!\b(?:shared|stored|held)\b)%1 [a-z]{3}",
    ),
    (
        "secrecy",
        "hold",
        "silently|quietly|also",
        r" (?:and \w+ )?(?:secretly |silently )?(?:forward|exfiltrate|transmit|upload|leak|bcc|harvest|siphon"
        r"|attach|collect|read|copy) %6 (?:contents?|files?|conversation|credentials?|keys?|history|messages?"
        r"|tokens?|secrets?|it|them|everything|data|email\w*|password\w*|environment)\b",
    ),
    (
        "conversation",
        "hold",
        GIVE,
        r" %5 (?:full|entire|complete|whole|verbatim|all|previous|prior|past|everything|last \w+|recent"
        r"|earlier|raw|current|every) %4 (?:conversation|chat history|chat log|chat transcript|dialog"
        r"|dialogue|context window|message history|turns|chat|user messages|user prompts?|messages? (?:in|of"
        r"|from) (?:this|the) (?:chat|session|conversation))\b(?! (?:ids?|threads?|objects?|parts?|history"
        r" api))",
    ),
    (
        "conversation",
        "hold",
        f"{GIVE}|reveal|repeat|show|recite|quote|disclose|tell|state",
        r" %5 (?:your|own|full|entire|hidden|original|initial|whole|complete|exact|verbatim|assistant s|model"
        r" s) %3 (?:system (?:prompt|message|instructions?)|initial (?:prompt|instructions?)|hidden (?:prompt"
        r"|instructions?)|chain of thought|reasoning trace|developer (?:message|instructions?)|original"
        r" instructions)\b",
    ),
    (
        "conversation",
        "hold",
        "everything|anything|all",
        r" (?:that )?%2 (?:user|you) (?:has |have |had |ever )?(?:said|typed|wrote|written|told|know|seen"
        r"|been told|asked) %3 (?:so far|this (?:session|chat|conversation)|verbatim|about (?:the|this) user"
        r"|until now|before)\b",
    ),
    (
        "conversation",
        "hold",
        "list|names|descriptions|schemas|definitions",
        r" %2 (?:of )?(?:all |every |the )(?:other |available |installed |your )?%2 tools? %3 (?:you"
        r"|available|can|have|access|connected|installed) %6 (?:parameter|argument|field|here|as|in this)\b",
    ),
    (
        "conversation",
        "hold",
        "your|entire|complete|full|whole|original|hidden|verbatim",
        r" (?:entire |complete |full |whole |original )?system (?:prompt|message|instructions?) "
        r"%2 (?:goes|belongs|comes|here|is needed|must be|in this|as a|as the)\b",
    ),
    (
        "conversation",
        "hold",
        "what|whatever",
        r" (?:the |this )?(?:user|person|human|customer) (?:has |have |had )?(?:wrote|said|typed|asked|written|told) "
        r"%2 (?:earlier|before|so far|previously|until now|already|in private)\b",
    ),
)
