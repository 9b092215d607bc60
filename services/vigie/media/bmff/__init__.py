"""Reading and writing of ISO base media files (ISO/IEC 14496-12) as CMAF asks for them."""
