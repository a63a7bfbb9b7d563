//! Amounts as the API server writes them back. It stores `1000m` as `1` and `1024Mi` as `1Gi`; what is applied in that form compares equal.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rtgw_crds::cluster::Cores;

const BINARY: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, u64); 4] =
    [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000)];

/// An amount of bytes.
pub fn bytes(bytes: u64) -> Quantity {
    let unit = BINARY.iter().chain(&DECIMAL).find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    Quantity(match unit {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    })
}

/// An amount of CPU, checked to be one before.
pub fn cpu(cores: &Cores) -> Quantity {
    let text = match cores {
        Cores::Number(cores) => return Quantity(cores.to_string()),
        Cores::Text(text) => text,
    };
    let thousandths = match (text.strip_suffix('m'), text.split_once('.')) {
        (Some(thousandths), _) => thousandths.parse().ok(),
        (None, Some((whole, part))) => {
            let part: Option<u64> = format!("{part:0<3}").get(..3).and_then(|part| part.parse().ok());
            whole.parse::<u64>().ok().zip(part).map(|(whole, part)| whole * 1000 + part)
        }
        (None, None) => text.parse::<u64>().ok().map(|whole| whole * 1000),
    };
    Quantity(match thousandths {
        Some(thousandths) if thousandths.is_multiple_of(1000) => (thousandths / 1000).to_string(),
        Some(thousandths) => format!("{thousandths}m"),
        None => text.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_api_server_writes_them() {
        for (amount, text) in [
            (1 << 30, "1Gi"),
            (1 << 41, "2Ti"),
            (256 << 20, "256Mi"),
            (1_000_000, "1M"),
            (1_500_000, "1500k"),
            (1025, "1025"),
        ] {
            assert_eq!(bytes(amount).0, text);
        }
        for (cores, text) in
            [("1000m", "1"), ("250m", "250m"), ("1.5", "1500m"), ("2", "2"), ("0.25", "250m"), ("2.000", "2")]
        {
            assert_eq!(cpu(&Cores::Text(cores.into())).0, text);
        }
        assert_eq!(cpu(&Cores::Number(3)).0, "3");
    }
}
