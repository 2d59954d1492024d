"""Whether a text of Interactive Brokers is English.

TWS and the gateway write their errors in the language of the login screen, unless "Show API error messages in English" is
set (Configure, API, Settings). Only the code is the same everywhere, and behind some codes the text alone tells what
happened. Users have reported Spanish and Chinese texts; the words below cover the languages that the login screen offers.
"""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that only one side has, as they stand in short technical sentences. What both sides have ("error", "no", "service",
# names such as HMDS) says nothing and is left out.
_ENGLISH = _words(
    "the of for is are was has have had been be not and or to from with by on in an this that your you will but please"
    " data query request requested market historical returned permissions permission connection connected farm"
    " violation contract security definition found subscribed subscription cancelled failed broken lost restored"
    " message exceeded available unknown must before after ending starting time step invalid different address"
)
_OTHER = _words(
    # Spanish, Portuguese, Italian, French
    "de del la las los el lo una uno unos para por con sin que se está esta fue son ser mensaje datos mercado conexión"
    " servicios solicitud históricos consulta devolvió"
    " do da dos das um uma não nao nenhum nenhuma com foi mensagem dados conexão serviço serviços pedido históricos"
    " di della dello dei degli gli il una non nessun nessuno con messaggio errore dati connessione richiesta storici"
    " le les du des une et pas aucun aucune pour avec est sont été sur erreur données donnees marché connexion requête"
    " historiques"
    # German, Dutch
    " der die das dem den und oder nicht keine kein für fur von vom zum zur ist sind wurde wurden mit auf fehler"
    " fehlermeldung meldung daten marktdaten marktdatenfarm verbindung anfrage abfrage historische historischen"
    " historischer"
    " het een en niet geen voor met naar fout foutmelding gegevens marktgegevens verbinding aanvraag historisch"
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def plain(text: str) -> str:
    """The text with the escapes undone (`\\u00f3`) in which a gateway writes what is not ASCII since version 153."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def is_english(text: str) -> bool:
    """False when more words of a text are of another language than English; True also for a text without evidence."""
    english, other = _evidence(text)
    return other <= english


def is_surely_english(text: str) -> bool:
    """True when a text has at least two English words, and more of them than of any other language."""
    english, other = _evidence(text)
    return english >= 2 and english > other


def _evidence(text: str) -> tuple[int, int]:
    """(English words, words of other languages); a word with a letter beyond ASCII counts as one of the latter."""
    words = re.findall(r"[^\W\d_]+", plain(text).lower())
    other = sum(word in _OTHER or not word.isascii() for word in words)
    return sum(word in _ENGLISH for word in words), other
