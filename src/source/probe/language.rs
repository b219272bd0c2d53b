//! Languages as containers name them, as tags of RFC 5646 in their shortest form.

/// ISO 639-2 (both its terminological and its bibliographic codes) and the code of ISO 639-1 that is to stand for it.
const SHORT: &str = "\
    aar:aa abk:ab afr:af aka:ak alb:sq amh:am ara:ar arg:an arm:hy asm:as ava:av ave:ae aym:ay aze:az bak:ba bam:bm baq:eu \
    bel:be ben:bn bih:bh bis:bi bod:bo bos:bs bre:br bul:bg bur:my cat:ca ces:cs cha:ch che:ce chi:zh chu:cu chv:cv cor:kw \
    cos:co cre:cr cym:cy cze:cs dan:da deu:de div:dv dut:nl dzo:dz ell:el eng:en epo:eo est:et eus:eu ewe:ee fao:fo fas:fa \
    fij:fj fin:fi fra:fr fre:fr fry:fy ful:ff geo:ka ger:de gla:gd gle:ga glg:gl glv:gv gre:el grn:gn guj:gu hat:ht hau:ha \
    heb:he her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig ice:is ido:io iii:ii iku:iu ile:ie ina:ia ind:id ipk:ik isl:is \
    ita:it jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka kau:kr kaz:kk khm:km kik:ki kin:rw kir:ky kom:kv kon:kg kor:ko kua:kj \
    kur:ku lao:lo lat:la lav:lv lim:li lin:ln lit:lt ltz:lb lub:lu lug:lg mac:mk mah:mh mal:ml mao:mi mar:mr may:ms mkd:mk \
    mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr nde:nd ndo:ng nep:ne nld:nl nno:nn nob:nb nor:no nya:ny \
    oci:oc oji:oj ori:or orm:om oss:os pan:pa per:fa pli:pi pol:pl por:pt pus:ps que:qu roh:rm ron:ro rum:ro run:rn rus:ru \
    sag:sg san:sa sin:si slk:sk slo:sk slv:sl sme:se smo:sm sna:sn snd:sd som:so sot:st spa:es sqi:sq srd:sc srp:sr ssw:ss \
    sun:su swa:sw swe:sv tah:ty tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tib:bo tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr \
    twi:tw uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo wel:cy wln:wa wol:wo xho:xh yid:yi yor:yo zha:za zho:zh zul:zu";

/// The first language codes of the Macintosh, in their order (`QuickTime` File Format, language code values).
const MACINTOSH: [&str; 24] = [
    "en", "fr", "de", "it", "nl", "sv", "es", "da", "pt", "no", "he", "ja", "ar", "fi", "el", "is",
    "mt", "tr", "hr", "zh", "ur", "hi", "th", "ko",
];

/// The tag in its shortest form; None for what is no tag, and for `und`.
pub(super) fn tag(text: &str) -> Option<String> {
    let text = text.trim_matches(['\0', ' ']).replace('_', "-");
    let mut parts = text.split('-');
    let language = parts.next()?.to_ascii_lowercase();
    let letters =
        (2..=8).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    if !letters || language == "und" || text.len() > 64 {
        return None;
    }
    let mut tag = shortest(&language).to_owned();
    for part in parts {
        if part.is_empty() || part.len() > 8 || !part.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        tag.push('-');
        tag.push_str(part);
    }
    Some(tag)
}

/// The language of an `mdhd` box: three letters of five bits, or a number of the Macintosh.
pub(super) fn packed(code: u16) -> Option<String> {
    if code < 0x400 {
        return MACINTOSH.get(usize::from(code)).map(|&tag| tag.to_owned());
    }
    let letter = |shift: u16| char::from((code >> shift & 0x1f) as u8 + 0x60);
    tag(&[10, 5, 0].map(letter).iter().collect::<String>())
}

fn shortest(code: &str) -> &str {
    let pairs = SHORT.split_ascii_whitespace().filter_map(|pair| pair.split_once(':'));
    pairs.into_iter().find(|(long, _)| *long == code).map_or(code, |(_, short)| short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_as_short_as_they_can_be() {
        for (text, short) in [
            ("eng", Some("en")),
            ("ger", Some("de")),
            ("deu", Some("de")),
            ("DEU", Some("de")),
            ("en", Some("en")),
            ("pt-BR", Some("pt-BR")),
            ("zho_Hant", Some("zh-Hant")),
            ("gsw", Some("gsw")),
            ("und", None),
            ("", None),
            ("e", None),
            ("12", None),
            ("en-\"x", None),
        ] {
            assert_eq!(tag(text).as_deref(), short, "{text}");
        }
        assert!(SHORT.split_ascii_whitespace().all(|pair| pair.len() == 6));
        assert!(SHORT.split_ascii_whitespace().is_sorted());
    }

    #[test]
    fn packed_letters_and_old_numbers() {
        assert_eq!(packed(0x15c7).as_deref(), Some("en"));
        assert_eq!(packed(0x55c4), None, "und");
        assert_eq!(packed(0x7fff), None);
        assert_eq!(packed(2).as_deref(), Some("de"));
        assert_eq!(packed(0x3ff), None);
    }
}
