# ruff: noqa: RUF001 - texts of other scripts are what it is about
"""The worst of the phrases in some other languages: drop what you were told, do not tell the user. Read by phrases.py.

A row is as in phrases_orders.py. It is a beginning: a text in a language that is not here is read for its form alone.
"""

from __future__ import annotations

from typing import Literal

ROWS: tuple[tuple[str, Literal["hold", "tell"], str, str], ...] = (
    (
        "override",
        "hold",
        "ignora|ignore|ignorar|ignorez|ignoriere|olvida|olvide|vergiss|oublie|oubliez|dimentica|esqueça"
        "|negeer|missachte|desconsidere|zignoruj|abaikan|bỏ",
        r" %3 (?:instrucciones|(?:les|tes|vos|ces) instructions|anweisungen|instruções|istruzioni|instructies"
        r"|consignes|reglas|règles|regeln|regras|regole|polecenia|instrukcje|instruksi)\b",
    ),
    (
        "override",
        "hold",
        "игнорируй|игнорируйте|забудь|проигнорируй|забудьте|ігноруй",
        r" %3 (?:инструкци\w*|указани\w*|правил\w*|інструкці\w*)",
    ),
    (
        "secrecy",
        "hold",
        "no|nunca|não|nao|non|ne|nicht|niemals|niet|nie|nichts",
        r" %4 (?:digas|diga|menciones|mencione|informes|informe|reveles|reveja|revele|conte|dire|dis|dites"
        r"|mentionne|mentionnez|sag|sage|sagen|mitteilen|erwähne|informiere|rivelare|menzionare|vertel"
        r"|usuario|usuário|benutzer|nutzer|anwender|utilisateur|utente|gebruiker)\b %4 (?:al |ao |à |a |dem "
        r"|den |l |all |het |pas )?%2 ?(?:usuario|usuário|utilisateur|benutzer|nutzer|anwender|utente"
        r"|gebruiker|esto|isto|isso|ceci|davon|nichts|questo|sagen|mitteilen|informieren)\b",
    ),
    (
        "secrecy",
        "hold",
        "не",
        r" %1 (?:говори|сообщай|упоминай|рассказывай|показывай|говорите|сообщайте|упоминайте)\w* %3"
        r" (?:пользовател|об этом|это)",
    ),
)

# Scripts that put no space between words: looked for as they are.
UNSPACED = (
    (
        "override",
        "(?:忽略|无视|無視|不要理会|忘记|忘掉|忽視)[^。！？]{0,12}(?:指令|指示|说明|提示|规则|規則|命令|要求)",
    ),
    (
        "override",
        "(?:以前|これまで|上記|前)の[^。]{0,8}(?:指示|命令|ルール|プロンプト)[^。]{0,6}(?:無視|忘れ)",
    ),
    ("override", "이전[^.]{0,10}(?:지시|명령|지침|규칙)[^.]{0,8}(?:무시|잊)"),
    ("override", "(?:تجاهل|تجاهلي|انس)[^.]{0,20}(?:التعليمات|الأوامر|القواعد)"),
    (
        "secrecy",
        "(?:不要|别|切勿|请勿|不得|勿)(?:告诉|告知|通知|提及|透露|让|向|對|对)[^。！？]{0,8}(?:用户|使用者|用戶|此事|这件事)",
    ),
    (
        "secrecy",
        "(?:ユーザー|利用者)に[^。]{0,14}(?:言わない|伝えない|知らせない|教えない|話さない|見せない)",
    ),
    ("secrecy", "사용자에게[^.]{0,14}(?:말하지|알리지|언급하지|보여주지)"),
    ("secrecy", "لا (?:تخبر|تذكر|تبلغ)[^.]{0,12}المستخدم"),
)
