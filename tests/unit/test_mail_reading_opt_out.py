"""Words that end contact, and words that only look like it, in ten languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.email.reading import read_mail
from messages.opting_out_words import asks_to_end_contact

ASKS = {
    "en": [
        "STOP", "stop!!", "Unsubscribe", "unsubscribe me please", "Please unsubscribe me.", "Please, unsubscribe me from this list", "opt out",
        "Can you please take me off your mailing list?", "Could you unsubscribe me?", "Remove me from your list", "Stop sending me these emails",
        "please stop emailing me", "STOP SPAMMING ME", "No more emails please", "I don't want to receive these messages any more",
        "I don’t want any more emails from you", "I no longer wish to receive your emails", "I want to unsubscribe", "I would like to be removed from your list",
        "don't contact me again", "Do not send me any more messages", "Please remove my email from your list, thanks", "leave me alone",
        "Stop sending me these emails because I moved", "Unsubscribe. Thank you.", "Stop, stop, stop!", "Please unsubscribe me, I never signed up for this",
        "unsubscribe, please - thanks", "Delete my address from your database",
    ],
    "de": [
        "Stopp", "Abmelden", "bitte abmelden", "Bitte keine Mails mehr", "Bitte keine E-Mails mehr!", "Ich möchte keine Mails mehr bekommen",
        "ich will keine Nachrichten mehr von Ihnen", "Bitte melden Sie mich ab", "Bitte nehmen Sie mich aus Ihrem Verteiler", "Bitte streichen Sie mich von der Liste",
        "Ich möchte mich abmelden", "Schreiben Sie mir nicht mehr", "Bitte schickt mir keine Mails mehr", "hören Sie auf mir zu schreiben", "aus dem Verteiler",
        "Bitte senden Sie mir keine Newsletter mehr, danke", "Lassen Sie mich in Ruhe", "Ich melde mich hiermit ab", "Keine Werbung mehr",
    ],
    "fr": [
        "Stop", "désabonner", "Désabonnement", "Me désabonner svp", "desinscription", "Veuillez me désabonner", "Merci de me désinscrire de votre liste",
        "Je souhaite me désabonner", "Ne m'envoyez plus de mails", "S'il vous plaît, ne m'écrivez plus", "Arrêtez de m'envoyer des mails", "Plus de mails svp",
        "Je ne veux plus recevoir vos messages", "Je ne souhaite plus être contactée", "Désabonnez-moi, merci", "Merci de ne plus m'envoyer de mails", "Laissez-moi tranquille",
    ],
    "es": [
        "Baja", "BAJA", "Darme de baja", "Quiero darme de baja", "Por favor, denme de baja", "Deseo cancelar mi suscripción", "No quiero recibir más correos",
        "No me envíen más mensajes", "No más correos, por favor", "Dejen de enviarme correos", "desuscribir", "Elimínenme de su lista", "no me escriban más", "Déjenme en paz",
    ],
    "pt": [
        "Sair", "Parar", "Descadastrar", "Quero cancelar a inscrição", "Remova-me da lista", "Por favor, remova meu e-mail da lista", "Não quero receber mais e-mails",
        "Não quero mais receber mensagens", "Não me enviem mais e-mails", "Parem de me enviar e-mails", "chega de e-mails", "Deixem-me em paz", "Cancelar subscrição",
    ],
    "it": [
        "Basta", "Disiscrivimi", "Cancellatemi dalla lista", "Vorrei disiscrivermi", "Voglio cancellarmi dalla newsletter", "Non voglio più ricevere queste mail",
        "Non inviatemi più mail", "Per favore non scrivetemi più", "Basta mail!", "Smettete di scrivermi", "Lasciatemi in pace", "rimuovetemi dalla vostra lista",
    ],
    "nl": [
        "Stop", "Afmelden", "Uitschrijven aub", "Graag afmelden", "Ik wil me afmelden", "Meld mij af", "Schrijf mij uit", "Geen mails meer", "Ik wil geen mails meer ontvangen",
        "Stuur mij geen mails meer", "Haal mij van de lijst", "Gelieve mij uit te schrijven", "Mail me niet meer", "Laat me met rust", "Verwijder mij uit uw bestand",
    ],
    "pl": [
        "Stop", "Wypisz mnie", "Proszę mnie wypisać", "Proszę o usunięcie mojego adresu", "Chcę się wypisać", "Nie chcę otrzymywać więcej wiadomości", "nie chce dostawac wiecej maili",
        "Proszę nie przysyłać mi więcej maili", "Nie piszcie do mnie więcej", "Usuńcie mnie z listy", "Rezygnuję z newslettera", "Przestańcie do mnie pisać", "Dajcie mi spokój",
    ],
    "tr": [
        "Dur", "DUR!", "Abonelikten çık", "abonelikten çıkmak istiyorum", "Lütfen beni listeden çıkarın", "Beni mail listenizden çıkarın",
        "Bana bir daha mail göndermeyin", "BANA ARTIK MAİL ATMAYIN", "Artık mesaj almak istemiyorum", "Bir daha yazmayın", "Üyelikten çık", "Beni rahat bırakın", "aboneligi iptal et",
    ],
    "ja": [
        "配信停止", "配信停止をお願いします。", "配信を停止してください", "メールの配信を停止してください", "購読解除", "もうメールを送らないでください", "今後メールは不要です。", "メールはもう受け取りたくありません",
        "メール配信の停止をお願いいたします", "登録を解除してください。", "リストから外してください", "やめてください",
    ],
}  # fmt: skip

DOES_NOT_ASK = {
    "en": [
        "please don't stop", "Don't stop!", "How do I unsubscribe my sister from the newsletter?", "Please do not unsubscribe me", "I don't want to unsubscribe",
        "Stop. The lamp blinks again.", "It does not stop", "The kettle won't stop beeping", "Please stop the delivery to my old address", "stop?", "Can I unsubscribe?",
        "I unsubscribed last week, and my order still has not arrived", "Please cancel", "cancel my order", "cancel", "End of the cable is broken", "no", "No more leaks, thank you!",
        "I want to keep getting these messages", "I don't want this any more, can I return it?", "Remove the lid first?", "Send me the invoice", "Thanks, all good",
        "Why do I get these emails?", "The stop button is broken", "Unsubscribe my old address and use this one instead", "No more emails than one a month, please",
    ],
    "de": [
        "Bitte nicht abmelden", "Wie melde ich meine Schwester ab?", "Er stoppt nicht", "Ich habe keine Mails mehr bekommen, was ist mit meiner Bestellung?", "Stopp, das Paket ist doch da",
        "Bitte stornieren", "Bestellung stornieren", "Die Abmeldung hat nicht geklappt?", "Keine Probleme mehr", "Bitte keine Rechnung mehr per Post", "Ich möchte keine Rückgabe mehr",
    ],
    "fr": [
        "Ne me désabonnez pas", "Comment désabonner ma mère ?", "Il ne s'arrête plus", "Je ne veux plus de cet article", "Annuler ma commande", "annuler", "Plus de problème, merci",
    ],
    "es": [
        "No me den de baja", "La bajada es difícil", "Cancelar mi pedido", "cancelar", "No quiero devolverlo", "¿Cómo doy de baja a mi madre?", "No más problemas, gracias", "Para mi hermana",
    ],
    "pt": ["Não me removam da lista", "Cancelar o pedido", "Como cancelo?", "Não recebi mais e-mails", "Para a minha irmã", "O produto não para", "Quero sair de férias"],
    "it": ["Non cancellatemi", "Annulla ordine", "Basta premere il tasto?", "Come disiscrivo mia madre?", "Non funziona più", "Basta così, grazie del consiglio"],
    "nl": ["Meld mij niet af", "Hij stopt niet", "Bestelling annuleren", "Ik heb geen mails meer ontvangen", "Hoe meld ik mijn moeder af?", "Geen problemen meer"],
    "pl": ["Nie wypisujcie mnie", "Anuluj zamówienie", "Nie otrzymałem więcej wiadomości", "Jak wypisać mamę?", "rezygnuję", "Nie działa"],
    "tr": ["Listeden çıkarmayın", "Siparişi iptal et", "iptal", "Durmuyor", "Mail almadım", "Annemi listeden nasıl çıkarırım?"],
    "ja": ["配信停止しないでください", "注文をキャンセルしてください", "動作が停止しました", "電源が止まりません", "配信停止の方法を教えてください", "メールが届きません", "いいえ", "どうやって停止しますか？"],
}  # fmt: skip


@pytest.mark.parametrize("line", [line for lines in ASKS.values() for line in lines])
def test_these_words_end_contact(line: str) -> None:
    assert asks_to_end_contact(line)


@pytest.mark.parametrize("line", [line for lines in DOES_NOT_ASK.values() for line in lines])
def test_these_words_do_not_end_contact(line: str) -> None:
    assert not asks_to_end_contact(line)


def test_both_tables_hold_ten_languages() -> None:
    assert len(ASKS) == len(DOES_NOT_ASK) == 10


def test_a_long_first_line_is_left_to_those_who_read_it() -> None:
    assert not asks_to_end_contact("unsubscribe " + "please " * 40)


def test_what_is_quoted_below_does_not_end_contact() -> None:
    mail = b"From: ana@example.org\nTo: care@shop.example\n\nIt works, thanks!\n\nOn Tue, Mar 10, 2026 at 10:00 AM Shop <care@shop.example> wrote:\n> STOP\n"
    assert not read_mail(mail).opt_out


def test_only_the_first_own_line_counts() -> None:
    assert not read_mail(b"From: ana@example.org\nTo: care@shop.example\n\nThe kettle leaks.\n\nunsubscribe\n").opt_out
    assert read_mail(b"From: ana@example.org\nTo: care@shop.example\n\nHello,\n\nunsubscribe\n").opt_out


@given(st.text(max_size=400))
def test_any_line_is_judged(line: str) -> None:
    assert asks_to_end_contact(line) in (True, False)


@given(st.text(alphabet="stop unsubcrie?!,.'-配信停止を ", max_size=170))
def test_any_line_of_its_own_letters_is_judged(line: str) -> None:
    assert asks_to_end_contact(line) in (True, False)
