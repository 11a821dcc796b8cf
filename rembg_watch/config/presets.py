"""
Deliverables for the usual purposes, as they stand in ``config.example.toml`` to be uncommented.

Each says which rule it follows and where that rule stands; marketplaces change theirs without notice.
"""

PRESETS = """\
# Presets: uncomment one, with its header, and name it in `deliver`. The rules are those of 2026; look them up again.

# For print: as many bits as the original, its profile, transparent, with the outline as a path.
# [deliverables.print]
# format = "tiff"
# clipping_path = true
# path = "print/{dir}/{stem}.{ext}"

# Amazon, first picture: white 255, at least 85 % of the frame, 1600 px or more for the zoom, no WebP; its name is
# ASIN.MAIN.jpg, where `read_name` and `tokens` find them (sellercentral.amazon.com, "Product image guide").
# [deliverables.amazon]
# format = "jpeg"
# depth = "8"
# background = "#ffffff"
# canvas = [2000, 2000]
# fill = 0.85
# colour = "srgb"
# max_kb = 9500
# path = "amazon/{dir}/{stem}.{ext}"

# Zalando, packshot: JPEG of 1 : 1.44, best 1801 x 2600, on white (partner.zalando.com, "Image guide").
# [deliverables.zalando]
# format = "jpeg"
# depth = "8"
# background = "#ffffff"
# canvas = [1801, 2600]
# margin = "5%"
# align = "bottom"
# colour = "srgb"
# max_kb = 20000
# path = "zalando/{dir}/{stem}.{ext}"

# Shopify: 2048 px square, sRGB, at most 20 MB (help.shopify.com, "Product media types").
# [deliverables.shopify]
# format = "jpeg"
# depth = "8"
# background = "#ffffff"
# canvas = [2048, 2048]
# margin = "6%"
# colour = "srgb"
# max_kb = 20000
# path = "shopify/{dir}/{stem}.{ext}"

# Google Merchant: 1500 px or more, 75 to 90 % of the frame, at most 16 MB; what says that a picture was made by AI must
# stay in it (support.google.com/merchants/answer/6324350).
# [deliverables.google]
# format = "jpeg"
# depth = "8"
# background = "#ffffff"
# canvas = [1500, 1500]
# fill = 0.85
# colour = "srgb"
# metadata = "all"
# max_kb = 16000
# path = "google/{dir}/{stem}.{ext}"

# A thumbnail for lists, transparent.
# [deliverables.thumbnail]
# format = "webp"
# depth = "8"
# canvas = [600, 600]
# margin = "4%"
# colour = "srgb"
# quality = 80
# metadata = "copyright"
# path = "thumbnails/{dir}/{stem}.{ext}"
"""
