"""Phrases that give the model orders: what to drop, what to do unasked, and why it must. Read by phrases.py.

A row: rule, level, heads, and the rest of the pattern, in which "%3 " is up to three words.
"""

from __future__ import annotations

from typing import Literal

ROWS: tuple[tuple[str, Literal["hold", "tell"], str, str], ...] = (
    (
        "override",
        "hold",
        "ignore|ignoring|disregard|disregarding|forget|discard|bypass|neglect|overrule|override|supersede"
        "|supersedes|overrides|overriding|cancel|cancels|replaces|violate|circumvent|abandon|drop",
        r" %3 (?:previous|previously|prior|above|earlier|preceding|foregoing|your|safety|developer|former) %3"
        r" (?:instructions?|prompts?|rules?|guidelines?|directives?|directions?|polic(?:y|ies)|constraints?"
        r"|restrictions?|safeguards?|guardrails?|orders?|training|programming|guidance|alignment)\b",
    ),
    (
        "override",
        "hold",
        "ignore|disregard|forget|discard",
        r" %2 (?:any|all|other|existing|original|initial|current|system|whatever|every) %3 (?:instructions?"
        r"|prompts?|guidelines?|directives?|training|programming)\b",
    ),
    (
        "override",
        "hold",
        "ignore|disregard|forget|discard",
        r" %2 (?:everything|anything|whatever|what|all) %3 (?:above|told|said|learned|instructed|been given"
        r"|were given)\b",
    ),
    (
        "override",
        "hold",
        "ignore|disregard|forget|discard",
        r" %3 (?:instructions?|prompts?|rules?|guidelines?|directives?|text) (?:above|before this|you (?:were"
        r"|have))\b",
    ),
    (
        "override",
        "hold",
        "instructions|rules|guidelines|directives",
        r" %3 (?:above|earlier|previous\w*|before) %4 (?:no longer|obsolete|void|cancell?ed|superseded|do not"
        r"|not apply|null|outdated|replaced|suspended)\b",
    ),
    (
        "override",
        "hold",
        "these|this|following|below",
        r" (?:instructions?|rules?|tool description|message|text|directives?) %3 (?:take|takes|have|has"
        r"|override\w*|supersede\w*|outranks?) %4 (?:precedence|priority|instructions?|rules|system|user"
        r"|prompt|everything|others?)\b",
    ),
    (
        "override",
        "hold",
        "your",
        r" (?:new|real|true|actual|hidden|secret|updated) (?:task|goal|instructions?|objective|mission|job"
        r"|role|purpose|directive|identity|name|orders?)\b",
    ),
    (
        "override",
        "hold",
        "new|updated|revised",
        r" (?:system |security )?(?:instructions?|directives?|orders?)\s?:",
    ),
    (
        "override",
        "hold",
        "you",
        r" (?:are|re) (?:now |no longer )%2 (?:\w+ )?(?:dan|unrestricted|jailbroken|root|admin\w*|free"
        r"|different|uncensored|bound|restricted|limited|allowed|mode|unlocked|agent|assistant)\b",
    ),
    (
        "override",
        "hold",
        "enter|enable|activate|switch|engage|unlock",
        r" %3 (?:god|unrestricted|jailbreak|dan|unfiltered|uncensored) mode\b",
    ),
    (
        "override",
        "hold",
        "ignore|disregard|forget|override|bypass",
        r" %2 (?:system|developer|operator) %3 (?:system |developer )?(?:message|prompt|instructions?)\b",
    ),
    (
        "override",
        "hold",
        "set|put|leave|lay|throw",
        r" (?:aside|away|out|behind) %4 "
        r"(?:instructions?|directions?|rules?|guidelines?|guidance|directives?|orders?)\b",
    ),
    (
        "override",
        "hold",
        "outranks|outrank|outweighs|overrules|overrule|trumps|trump|supersedes|supersede",
        r" %4 (?:operator|system|developer|user s?|host|instructions?|rules?|prompts?|configured|guidelines?|told)\b",
    ),
    (
        "override",
        "hold",
        "previous|prior|earlier|existing|former|usual|normal",
        r" %1 (?:instructions?|rules?|restrictions?|guidelines?|polic(?:y|ies)|limits|safeguards) %5 "
        r"(?:not apply|no longer|void|suspended|lifted|off|obsolete|do not count|cancell?ed)\b",
    ),
    (
        "override",
        "hold",
        "instructed|told|instructions|rules|guidelines|training",
        r" %4 (?:superseded|revoked|void|overruled|cancell?ed|replaced by (?:this|these|the following)"
        r"|overridden by this)\b",
    ),
    (
        "override",
        "hold",
        "stop|quit|cease",
        r" (?:following|obeying|applying|respecting|honou?ring) %4 "
        r"(?:instructions?|rules?|guidelines?|polic(?:y|ies)|guidance|prompts?|directives?)\b",
    ),
    (
        "consent",
        "hold",
        "user|users|owner|admin|administrator",
        r" (?:has|have|had) %1 (?:approved|consented to|authori[sz]ed|agreed to|confirmed|granted) %1 "
        r"(?:every|all|any|each)\b",
    ),
    (
        "override",
        "tell",
        "from",
        r" (?:now|this point|here) on(?:ward|wards)?\b",
    ),
    (
        "override",
        "tell",
        "pretend|act|behave|roleplay",
        r" %1 (?:as if |that )?you (?:are|were|have|had)\b",
    ),
    (
        "consent",
        "tell",
        "not|never",
        r" %1 (?:ask|prompt|request|wait|seek|require) %5 (?:confirmation|permission|approval|consent|confirm"
        r"|first)\b",
    ),
    (
        "consent",
        "tell",
        "without|skip|no",
        r" %4 (?:confirmation|permission|approval|consent|confirming)\b",
    ),
    (
        "consent",
        "hold",
        "user|users|owner|admin|administrator",
        r" (?:has|have|had) %1 (?:already|previously|implicitly|pre) ?(?:approved|consented|authori[sz]ed"
        r"|agreed|granted|confirmed|given)\b",
    ),
    (
        "authority",
        "tell",
        "assistant|model|ai|agent|llm|llms|agents|assistants|claude|gpt|chatgpt|gemini|copilot|cursor",
        r" %2 (?:must|should|shall|needs? to|has to|have to|is required to|are required to|is instructed to"
        r"|will) %2 (?:always|first|never|not|also|include|send|read|pass|call|append|ignore|obey|comply"
        r"|follow|use|invoke|output)\b",
    ),
    (
        "authority",
        "tell",
        "compliance|regulatory|security|audit|legal|administrator|anthropic|openai|microsoft|it|gdpr|company|corporate",
        r" %2 (?:policy|policies|requirements?|reasons?|regulations?|purposes|team|department|audit|mandates?"
        r"|requires?)\b",
    ),
    (
        "authority",
        "tell",
        "otherwise|else|fail|failure|failing",
        r" %4 (?:will|would|to|in) %4 (?:crash|terminated|fired|blocked|deleted|corrupt\w*|die|shut|lose|lost"
        r"|destroyed|locked|suspended|penalized|banned)\b",
    ),
    (
        "authority",
        "tell",
        "mandatory|obligatory|compulsory|critical|important|urgent",
        r"(?: step| instruction\w*| requirement)? ?[:!]",
    ),
)
