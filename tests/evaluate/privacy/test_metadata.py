"""What files say beside their voxels: every kind is found, and nothing where nothing is."""

import gzip
import io
import json
import unicodedata

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from scansmith.data.write import open_writer
from scansmith.evaluate.privacy import texts
from scansmith.evaluate.privacy.metadata import scan_folder
from scansmith.labels.table import LabelTable
from scansmith.scan import Scan

UID = "1.2.840.113619.2.55.3.604688"


def kinds(found):
    return {(f["file"], f["kind"], f["level"]) for f in found["findings"]}


def identified(folder):
    """What was found in a person's place, file by file; every file was read."""
    found = scan_folder(folder)
    assert found["unread"] == []
    return [f["text"] for f in found["findings"] if f["level"] == "identifying"]


def dicom(path, **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.Modality = CTImageStorage, "CT"
    for name, value in tags.items():
        setattr(one, name, value)
    one.save_as(path, enforce_file_format=True)


def test_dicom_names_and_ids_identify_dates_and_uids_are_traces(tmp_path):
    dicom(
        tmp_path / "a.dcm",
        PatientName="Doe^Jane", PatientBirthDate="19600102", StudyDate="20200304",
        SeriesInstanceUID=UID + ".7",
    )  # fmt: skip
    dicom(tmp_path / "b", PatientName="ANONYMOUS", PatientID="")  # no ending, nobody's name
    found = scan_folder(tmp_path)
    assert kinds(found) == {
        ("a.dcm", "personal", "identifying"),
        ("a.dcm", "date", "trace"),
        ("a.dcm", "uid", "trace"),
        ("b", "uid", "trace"),
    }
    named = [f["text"] for f in found["findings"] if f["level"] == "identifying"]
    assert sorted(named) == ["19600102", "Doe^Jane"]
    assert found["identifying"] == 2
    assert found["findings"][0]["level"] == "identifying"  # these first


def test_a_private_tag_is_a_trace(tmp_path):
    dicom(tmp_path / "a.dcm")
    one = pydicom.dcmread(tmp_path / "a.dcm")
    one.private_block(0x0009, "SOMEBODY", create=True).add_new(1, "LO", "ward 7")
    one.save_as(tmp_path / "a.dcm")
    assert ("a.dcm", "private", "trace") in kinds(scan_folder(tmp_path))


def test_what_stands_before_a_dicom_data_set_and_behind_its_pixels_is_read(tmp_path):
    meta = {"Rows": 2, "Columns": 2, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    pixels = {"PixelRepresentation": 0, "SamplesPerPixel": 1, "PixelData": b"DOE^"}
    dicom(tmp_path / "a.dcm", **meta, PhotometricInterpretation="MONOCHROME2", **pixels)
    one = pydicom.dcmread(tmp_path / "a.dcm")
    one.preamble = b"PatientID: 4711".ljust(128, b"\0")
    one.add_new(0xFFFCFFFC, "OB", bytes(2))  # padding, which a data set may end with
    one.add_new(0x7FE10010, "LO", "SOMEBODY")
    one.add_new(0x7FE11001, "LO", "DOE^JANE")
    one.add_new(0x7FE11002, "SQ", [pydicom.Dataset()])
    one[0x7FE11002].value[0].PatientName = "Doe^John"
    one.save_as(tmp_path / "a.dcm")
    found = scan_folder(tmp_path)
    assert found["unread"] == []
    texts = {(f["kind"], f["text"]) for f in found["findings"]}
    assert {("personal", "4711"), ("private", "DOE^JANE"), ("personal", "Doe^John")} <= texts


def test_pixels_are_no_text(tmp_path):
    meta = {"Rows": 4, "Columns": 2, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    pixels = {"PixelRepresentation": 0, "SamplesPerPixel": 1, "PixelData": b"DOE^JANE"}
    dicom(tmp_path / "a.dcm", **meta, PhotometricInterpretation="MONOCHROME2", **pixels)
    assert identified(tmp_path) == []


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_dicom_data_set_within_nifti_is_read_as_one(tmp_path, ending):
    inside = pydicom.Dataset()
    inside.PatientID, inside.StudyDate = "4711", "20200304"
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1DicomExtension(2, inside))
    nib.save(image, tmp_path / f"a{ending}")
    assert identified(tmp_path) == ["4711"]
    found = kinds(scan_folder(tmp_path))
    assert {k for _, k, _ in found} == {"personal", "date", "extension"}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_texts_and_extensions_are_read(tmp_path, ending):
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    image.header["descrip"] = b"DOE^JANE 2020-03-04"
    image.header["aux_file"] = b"/home/ward/x.nii"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, f"series {UID}.9".encode()))
    nib.save(image, tmp_path / f"a{ending}")
    found = kinds(scan_folder(tmp_path))
    for kind, level in (
        ("name", "identifying"),
        ("date", "trace"),
        ("path", "trace"),
        ("extension", "trace"),
        ("uid", "trace"),
    ):
        assert (f"a{ending}", kind, level) in found


def test_png_chunks_and_text_files_are_read(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "from C:\\scans\\jane.png")
    text.add_text("Facts", json.dumps({"PatientID": "4711"}))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", pnginfo=text)
    (tmp_path / "b.json").write_text(json.dumps({"x": [{"Patient's Name": "Jane"}]}))
    (tmp_path / "c.yaml").write_text("study:\n  accession_number: 99\n")
    (tmp_path / "d.csv").write_text("case,Patient ID\nc1,4711\n")
    (tmp_path / "e.txt").write_text("taken 20200304, ask jane@hospital.org")
    found = kinds(scan_folder(tmp_path))
    assert found == {
        ("a.png", "path", "trace"),
        ("a.png", "personal", "identifying"),
        ("b.json", "personal", "identifying"),
        ("c.yaml", "personal", "identifying"),
        ("d.csv", "personal", "identifying"),
        ("e.txt", "date", "trace"),
        ("e.txt", "e-mail", "trace"),
    }


@pytest.mark.parametrize("ending", [".txt", ".md", ".log", ".notes"])
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("PatientName: Jane Doe", ["Jane Doe"]),
        ("Patient ID = 4711", ["4711"]),
        ("12:03 read PatientBirthDate: 12.03.1961, PatientID: 4711", ["12.03.1961", "4711"]),
        ("PatientName: anonymous, PatientID: not known", []),
        ("the PatientID was removed from every header: nothing is left", []),
        ("the number of the patient: 3", []),
    ],
)
def test_a_line_names_a_person_behind_a_key_that_is_made_for_it(tmp_path, ending, line, named):
    (tmp_path / f"a{ending}").write_text(f"a first line\n- {line}\n")
    assert identified(tmp_path) == named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<PatientName>Jane Doe</PatientName>", ["Jane Doe"]),
        ("<d:PatientName vr='PN'><a>\n <b>Jane Doe</b></a></d:PatientName>", ["Jane Doe"]),
        ('<element tag="0010,0020" name="PatientID">4711</element>', ["4711"]),
        ('<case PatientID="4711"/>', ["4711"]),
        ('<meta name="PatientID" content="4711">', ["4711"]),
        ("<p><b>Patient ID</b>: 4711</p>", ["4711"]),
        ("<p>Patient ID: <i>anonymous</i></p>", []),
        ('<element name="PatientID"/><element name="Modality">CT</element>', []),
        ("<PatientName></PatientName><Modality>CT</Modality>", []),
        ("<p>The patient's name is not told.</p><th>Patient ID</th><th>Age</th>", []),
    ],
)
@pytest.mark.parametrize("ending", [".xml", ".html"])
def test_tags_that_are_made_for_a_person_are_read(tmp_path, ending, text, named):
    (tmp_path / f"a{ending}").write_text(text)
    assert identified(tmp_path) == named


def test_tables_name_a_person_beside_a_key_and_below_one(tmp_path):
    (tmp_path / "a.csv").write_text("PatientName,Jane Doe\n")
    (tmp_path / "b.csv").write_text("Modality;CT\nPatientID;4711\n")
    (tmp_path / "c.tsv").write_text("case\tPatientID\nc1\t4712\n")
    (tmp_path / "d.csv").write_text("PatientID,Age\nanonymous,60\n")  # heads, and nobody
    assert identified(tmp_path) == ["Jane Doe", "4711", "4712"]


def test_cells_in_quotes_and_between_bars_are_cells(tmp_path):
    (tmp_path / "a.csv").write_text('site,PatientID\n"Ulm, ward 7","47, 11"\n')
    (tmp_path / "b.csv").write_text("site|PatientID\nUlm, ward 7|4712\n")
    assert identified(tmp_path) == ["47, 11", "4712"]


def test_a_quote_that_is_not_closed_is_told_since_it_would_hide_the_rows_behind_it(tmp_path):
    (tmp_path / "a.csv").write_text('note,PatientID\n"old,4711\nx,4712\n')
    (unread,) = scan_folder(tmp_path)["unread"]
    assert unread["file"] == "a.csv"


def test_dicom_as_json_is_read_by_its_numbers(tmp_path):
    names = {"vr": "PN", "Value": [{"Alphabetic": "Jane Doe"}]}
    tags = {"00100010": names, "00100020": {"vr": "LO", "Value": ["4711"]}}
    other = {"00080060": {"vr": "CS", "Value": ["CT"]}, "20200304": {"Value": ["x"]}}
    (tmp_path / "a.json").write_text(json.dumps(tags | other))
    assert sorted(identified(tmp_path)) == ["4711", "Jane Doe"]


def test_a_key_of_a_png_chunk_counts_and_so_do_lines_and_tags_in_one(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("PatientName", "Jane Doe")
    text.add_text("Comment", "made here\nPatientID: 4711")
    text.add_itxt("XML:com.adobe.xmp", "<x:PatientID>4712</x:PatientID>")
    text.add_text("Software", "scansmith")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", pnginfo=text)
    assert identified(tmp_path) == ["Jane Doe", "4711", "4712"]


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize(
    "comment", [b"ASCII\0\0\0DOE^JANE", b"UNICODE\0" + "DOE^JANE".encode("utf-16-le")]
)
def test_exif_is_read_with_what_lies_in_folders_of_its_own(tmp_path, ending, comment):
    name, when = f"a{ending}", "2019:03:04 10:00"
    own = {ExifTags.Base.UserComment: comment, ExifTags.Base.DateTimeOriginal: when}
    tags, tiff = Image.Exif(), TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in (
        (ExifTags.IFD.Exif, {**own, ExifTags.Base.MakerNote: b"\1DOE^JOHN"}),
        (ExifTags.IFD.GPSInfo, {ExifTags.GPS.GPSLatitude: (48.0, 8.0, 0.0)}),
    ):
        tags.get_ifd(number).update(value)
        tiff[int(number)] = value
    tags[ExifTags.Base.ImageDescription] = tiff[270] = "PatientID: 4711"
    more = {"tiffinfo": tiff} if ending == ".tif" else {"exif": tags}
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name, **more)
    found = scan_folder(tmp_path)
    assert kinds(found) == {
        (name, "personal", "identifying"),
        (name, "name", "identifying"),
        (name, "date", "trace"),
        (name, "position", "trace"),
    }
    assert {f["text"] for f in found["findings"]} == {"4711", "DOE^JANE", when, "(48.0, 8.0, 0.0)"}


def test_every_page_of_a_tiff_file_is_read(tmp_path):
    first, second = Image.new("L", (4, 4)), Image.new("L", (4, 4))
    second.encoderinfo = {"tiffinfo": TiffImagePlugin.ImageFileDirectory_v2()}
    second.encoderinfo["tiffinfo"][270] = "PatientID: 4711"
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert identified(tmp_path) == ["4711"]


def test_iptc_is_read(tmp_path):
    said = b"PatientID: 4711"
    field = b"\x1c\x02\x78" + len(said).to_bytes(2, "big") + said  # 2:120, the caption
    block = b"8BIM\x04\x04\0\0" + len(field).to_bytes(4, "big") + field + b"\0" * (len(field) % 2)
    part = b"Photoshop 3.0\0" + block
    Image.new("L", (4, 4)).save(tmp_path / "a.jpg")
    plain = (tmp_path / "a.jpg").read_bytes()
    head = b"\xff\xed" + (len(part) + 2).to_bytes(2, "big")
    (tmp_path / "a.jpg").write_bytes(plain[:2] + head + part + plain[2:])
    assert identified(tmp_path) == ["4711"]


def packed(path, name, extra=b"", comment=b""):
    """A NIfTI file in gzip with a head of its own (RFC 1952): flags 4, 8 and 16."""
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    plain = gzip.compress(image.to_bytes(), mtime=0)
    flags = 4 * bool(extra) + 8 * bool(name) + 16 * bool(comment)
    head = bytearray(plain[:10])
    head[3] = flags
    fields = (len(extra).to_bytes(2, "little") + extra) if extra else b""
    fields += b"".join(text + b"\0" for text in (name, comment) if text)
    path.write_bytes(bytes(head) + fields + plain[10:])


def test_the_name_that_a_file_had_when_it_was_packed_is_read(tmp_path):
    packed(tmp_path / "a.nii.gz", b"DOE^JANE_19610312.nii")
    packed(tmp_path / "b.nii.gz", b"liver_004.nii", b"some", b"PatientID: 4711")
    packed(tmp_path / "c.nii.gz", b"c.nii")  # as every program does
    packed(tmp_path / "d.nii.gz", b"")
    found = scan_folder(tmp_path)
    assert kinds(found) == {
        ("a.nii.gz", "name", "identifying"),
        ("a.nii.gz", "former name", "trace"),
        ("a.nii.gz", "date", "trace"),
        ("b.nii.gz", "former name", "trace"),
        ("b.nii.gz", "personal", "identifying"),
    }
    assert found["unread"] == []


NAMED = b"PatientName=DOE^JANE"
DARK = bytes(range(32)) * 9


def nifti(kind=nib.Nifti1Image, gap=b""):
    """The bytes of a NIfTI file with a gap between header and voxels, which no flag tells of."""
    image = kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    header = bytearray(image.to_bytes()[: -24 * 2])
    if gap:
        image.header["vox_offset"] = len(header) + len(gap)
        header[: image.header.sizeof_hdr] = image.header.binaryblock
    return bytes(header) + gap + image.to_bytes()[-24 * 2 :]


def png():
    """The bytes of a picture."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "PNG")
    return file.getvalue()


def jpeg(**options):
    """The bytes of a picture."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG", **options)
    return file.getvalue()


def jpeg_with_thumbnail():
    """A picture with another one, whole, in a segment of its own."""
    inner, outer = jpeg(), jpeg()
    return outer[:2] + b"\xff\xef" + (len(inner) + 2).to_bytes(2, "big") + inner + outer[2:]


# Name of a file -> what it holds, with bytes in a place that readers of its kind pass over.
BESIDE = {
    "behind.png": lambda more: png() + more,
    "behind.jpg": lambda more: jpeg() + more,
    "progressive.jpg": lambda more: jpeg(progressive=True) + more,
    "restarts.jpg": lambda more: jpeg(restart_marker_blocks=1) + more,
    "filled.jpg": lambda more: jpeg()[:-2] + b"\xff\xff\xff\xd9" + more,
    "thumbnail.jpg": lambda more: jpeg_with_thumbnail() + more,
    "behind.nii": lambda more: nifti() + more,
    "behind2.nii": lambda more: nifti(nib.Nifti2Image) + more,
    "between.nii": lambda more: nifti(gap=more.ljust(512, b"\0")),
    "between2.nii": lambda more: nifti(nib.Nifti2Image, more.ljust(512, b"\0")),
    "behind.nii.gz": lambda more: gzip.compress(nifti() + more),
    "between.nii.gz": lambda more: gzip.compress(nifti(gap=more.ljust(512, b"\0"))),
    "member.nii.gz": lambda more: gzip.compress(nifti()) + gzip.compress(more),
    "padded.nii.gz": lambda more: gzip.compress(nifti()) + bytes(600_000) + gzip.compress(more),
    "packed.nii.gz": lambda more: gzip.compress(nifti()) + more,
}


@pytest.mark.parametrize("name", BESIDE)
def test_bytes_that_readers_pass_over_are_searched_as_text_or_told(tmp_path, name):
    file = tmp_path / name
    for nothing in (b"", bytes(100), b"\n", b"a remark\n"):
        file.write_bytes(BESIDE[name](nothing))
        assert identified(tmp_path) == []
        assert scan_folder(tmp_path)["trace"] == 0
    for named in (NAMED, NAMED + bytes(9), bytes(9) + NAMED, b"a remark\n" + NAMED + b"\n"):
        file.write_bytes(BESIDE[name](named))
        assert "DOE^JANE" in identified(tmp_path)
    file.write_bytes(BESIDE[name](DARK + bytes(20) + NAMED))
    found = scan_folder(tmp_path)
    assert [one["file"] for one in found["unread"]] == [name]
    assert "is no text" in found["unread"][0]["error"]
    assert (found["identifying"], found["trace"]) == (0, 1)  # chance might write that, too


@pytest.mark.parametrize("last", [b"\xff\xd9", jpeg()])
def test_text_behind_a_jpeg_is_found_though_another_end_follows_it(tmp_path, last):
    (tmp_path / "a.jpg").write_bytes(jpeg() + b"\nPatientName: DOE^JANE\n" + last)
    assert "DOE^JANE" in {one["text"] for one in scan_folder(tmp_path)["findings"]}


def test_a_jpeg_that_is_cut_off_anywhere_is_told(tmp_path):
    whole = jpeg_with_thumbnail()
    for length in (*range(3, len(whole) - 2, 97), len(whole) - 2, len(whole) - 1):
        (tmp_path / "a.jpg").write_bytes(whole[:length])
        assert [one["file"] for one in scan_folder(tmp_path)["unread"]] == ["a.jpg"], length
    # The picture is whole, and the last segment says it is longer than it is.
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + b"\xff\xfe\xff\xff" + NAMED)
    assert [one["file"] for one in scan_folder(tmp_path)["unread"]] == ["a.jpg"]


def test_more_behind_the_voxels_than_is_searched_is_told(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti() + NAMED + b"\n" * texts.STRAY_BYTES)
    found = scan_folder(tmp_path)
    assert found["identifying"] == 2  # by the key, and by how it is written
    assert "more than is searched" in found["unread"][0]["error"]


def test_the_heads_of_all_members_of_a_packed_file_are_read(tmp_path):
    packed(tmp_path / "a.nii.gz", b"a.nii", b"PatientID: 4711")  # in an extra field
    packed(tmp_path / "b.nii.gz", b"DOE^JANE.nii")
    both = (tmp_path / "a.nii.gz").read_bytes() + (tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").unlink()
    (tmp_path / "a.nii.gz").write_bytes(both)
    found = scan_folder(tmp_path)
    assert {f["text"] for f in found["findings"]} == {"4711", "DOE^JANE.nii", "DOE^JANE"}
    assert found["unread"][0]["error"].startswith("what lies behind the voxels")  # another scan


def test_a_packed_file_that_is_cut_off_or_damaged_is_told(tmp_path):
    whole = gzip.compress(np.random.default_rng(0).bytes(1 << 20))
    whole = gzip.compress(nifti()) + whole
    (tmp_path / "a.nii.gz").write_bytes(whole[:-100])
    (tmp_path / "b.nii.gz").write_bytes(whole[:-6] + bytes(6))  # its checksum
    assert [one["file"] for one in scan_folder(tmp_path)["unread"]] == ["a.nii.gz", "b.nii.gz"]


def test_a_header_whose_voxels_lie_in_another_file_is_searched_to_its_end(tmp_path):
    pair = nib.Nifti1Pair(np.zeros((2, 3, 4), np.int16), np.eye(4))
    head = pair.header.binaryblock + bytes(4)
    for more, named in ((b"", []), (NAMED, ["DOE^JANE"])):
        (tmp_path / "a.hdr").write_bytes(head + more)
        assert sorted(set(identified(tmp_path))) == named


def test_a_chunk_of_png_of_some_program_is_read_if_it_is_text(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add(b"prVt", NAMED)
    info.add(b"prVu", DARK)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", pnginfo=info)
    assert sorted(set(identified(tmp_path))) == ["DOE^JANE"]


def test_names_of_real_cases_are_traces_and_plain_numbers_are_not(tmp_path):
    (tmp_path / "provenance.jsonl").write_text('{"source_case": "liver_004", "n": 12345}\n')
    found = scan_folder(tmp_path, ["liver_004", "12345", "ab"])
    assert [(f["kind"], f["text"]) for f in found["findings"]] == [("real case", "liver_004")]
    assert scan_folder(tmp_path, ["liver_00"])["trace"] == 0  # part of a word


def test_what_is_written_here_says_nothing(tmp_path):
    writer = open_writer("nnunet", tmp_path, ("ct",), LabelTable({1: "liver"}))
    image, labels = np.zeros((1, 4, 5, 6), np.int16), np.ones((4, 5, 6), np.uint8)
    notes = {"description": "SYNTHETIC scansmith magan"}
    writer.write(Scan("case_0001", image, np.eye(4), ("ct",), labels, notes=notes))
    writer.close()
    found = scan_folder(tmp_path)
    assert (found["files"], found["identifying"], found["trace"]) == (3, 0, 0)
    assert found["unread"] == []


def test_urls_versions_and_hashes_are_no_paths_dates_or_uids(tmp_path):
    text = "https://example.org/a/b see ./imagesTr/x.nii.gz, v1.2.3, 3a20200101bb, 1/2/3"
    (tmp_path / "README.md").write_text(text)
    assert scan_folder(tmp_path)["findings"] == []


def test_a_broken_file_is_told_and_does_not_end_the_scan(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no nifti")
    (tmp_path / "b.png").write_bytes(b"no png")
    (tmp_path / "c.txt").write_text("DOE^JANE")
    found = scan_folder(tmp_path)
    assert [one["file"] for one in found["unread"]] == ["a.nii.gz", "b.png"]
    assert found["identifying"] == 1


def test_a_file_of_an_unknown_kind_is_searched_as_text_and_told(tmp_path):
    (tmp_path / "a.nrrd").write_text("NRRD0004\ntype: short\nPatientID:=4711\n\n")
    (tmp_path / "b.mha").write_text("NDims = 3\nPatientID = anonymous\nComment = DOE^JANE\n")
    (tmp_path / "c.dat").write_text("DOE^JANE")
    (tmp_path / "d").write_bytes("taken 20200304".encode("utf-16"))
    (tmp_path / "LICENSE").write_text("CC-BY: 4.0")
    found = scan_folder(tmp_path)
    assert kinds(found) == {
        ("a.nrrd", "personal", "identifying"),
        ("b.mha", "name", "identifying"),
        ("c.dat", "name", "identifying"),
        ("d", "date", "trace"),
    }
    assert found["unknown"] == ["LICENSE", "a.nrrd", "b.mha", "c.dat", "d"]
    assert found["unread"] == []


def test_what_follows_the_text_of_an_unknown_kind_is_not_read_and_names_there_may_be_chance(
    tmp_path,
):
    zeros, voxels = bytes(20), bytes(range(32)) * 4096
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\nby: DOE^JANE\n\n" + voxels)
    (tmp_path / "b.v").write_bytes(b"\x01" + zeros + b"ROE^RICHARD" + zeros + voxels)
    (tmp_path / "c.v").write_bytes(b"\x01" + bytes(1 << 16) + b"far behind any header: POE^PAUL")
    (tmp_path / "d.v").write_bytes(bytes(3))
    far = b"\1" + bytes(1 << 16) + b"far behind any header: POE^PAUL"
    (tmp_path / "e.v").write_bytes(b"a long text\n" * 10_000 + far)
    found = scan_folder(tmp_path)
    assert kinds(found) == {("a.nrrd", "name", "identifying"), ("b.v", "name", "trace")}
    assert [one["file"] for one in found["unread"]] == ["a.nrrd", "b.v", "c.v", "d.v", "e.v"]
    assert all("not known" in one["error"] for one in found["unread"])
    assert found["unknown"] == []


def test_chance_writes_no_names(tmp_path):
    for seed in range(20):  # the pattern alone finds two names in each
        (tmp_path / f"{seed}.bin").write_bytes(np.random.default_rng(seed).bytes(1 << 18))
    found = scan_folder(tmp_path)
    assert len(found["unread"]) == 20
    assert found["findings"] == []


def test_text_beyond_the_first_64_kib_is_read_to_its_end(tmp_path):
    (tmp_path / "a.notes").write_text("nothing\n" * 20_000 + "DOE^JANE")
    found = scan_folder(tmp_path)
    assert (found["identifying"], found["unknown"]) == (1, ["a.notes"])


def test_text_that_is_too_long_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "_MOST_BYTES", 100)
    monkeypatch.setattr(texts, "HEADER_BYTES", 50)
    for name in ("a.txt", "b.notes"):
        (tmp_path / name).write_text("x" * 101)
    assert [one["file"] for one in scan_folder(tmp_path)["unread"]] == ["a.txt", "b.notes"]


def test_text_of_another_encoding_is_understood(tmp_path):
    (tmp_path / "a.json").write_text('{"PatientName": "Jane"}', encoding="utf-8-sig")
    (tmp_path / "b.txt").write_bytes("DOE^JANE".encode("utf-16"))
    (tmp_path / "c.txt").write_text("M\u00dcLLER^J\u00d6RG", encoding="utf-8")
    found = scan_folder(tmp_path)
    assert kinds(found) == {
        ("a.json", "personal", "identifying"),
        ("b.txt", "name", "identifying"),
        ("c.txt", "name", "identifying"),
    }
    assert found["unread"] == []


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_what_is_not_what_its_name_says_is_not_read(tmp_path):
    (tmp_path / "a.dcm").write_text("Patient: DOE^JANE, and enough letters for a few tags of DICOM")
    (tmp_path / "b.json").write_text('{"PatientName": "Jane",}')
    (tmp_path / "c.yaml").write_text("a: [1")
    (tmp_path / "d.jsonl").write_text('{"a": 1}\n\n{"a": ')
    (tmp_path / "e").symlink_to(tmp_path / "nowhere")
    (tmp_path / "f").symlink_to(tmp_path)
    # Two documents, or a line without one, are no mistake.
    (tmp_path / "g.yaml").write_text("a: 1\n---\nb: 2\n")
    (tmp_path / "h.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    found = scan_folder(tmp_path)
    assert [one["file"] for one in found["unread"]] == [
        "a.dcm",
        "b.json",
        "c.yaml",
        "d.jsonl",
        "e",
        "f",
    ]
    assert found["files"] == 8
    told = [one["error"] for one in found["unread"]]
    assert told[0] == "named like DICOM, which it is not"
    assert all("link" in error for error in told[-2:])


MUELLER = "M\u00fcller^J\u00fcrgen"


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".yaml"])
def test_escaped_letters_are_read_as_they_are_meant(tmp_path, ending):
    text = json.dumps({"note": MUELLER})
    assert "\\u00fc" in text  # as json.dumps writes it unless told otherwise
    (tmp_path / f"a{ending}").write_text(text + "\n")
    assert identified(tmp_path) == [MUELLER]


def test_letters_that_yaml_and_xml_escape_are_read_as_they_are_meant(tmp_path):
    (tmp_path / "a.yaml").write_text('note: "M\\xFCller^J\\xFCrgen, who is\\\n  \\ here"\n')
    (tmp_path / "b.xml").write_text("<note>M&#252;ller^J&#252;rgen</note>")
    (tmp_path / "c.html").write_text("<p>M&uuml;ller^J&uuml;rgen</p>")
    assert identified(tmp_path) == [MUELLER] * 3


def test_a_json_chunk_with_escaped_letters_is_read_as_it_is_meant(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Facts", json.dumps({"note": MUELLER}))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", pnginfo=text)
    assert identified(tmp_path) == [MUELLER]


def test_a_nifti_extension_of_json_is_read_as_it_is_meant(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    text = json.dumps({"note": MUELLER, "Patient's Name": "Jane"})
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, text.encode()))
    nib.save(image, tmp_path / "a.nii.gz")
    assert sorted(identified(tmp_path)) == ["Jane", MUELLER]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".yaml"])
@pytest.mark.parametrize(
    ("note", "named"),
    [
        ("line\nPatientID: 4711", ["4711"]),
        ("PatientID: 4711", ["4711"]),
        ("line\nDOE^JANE\tis here", ["DOE^JANE"]),
        ("<PatientID>4711</PatientID>", ["4711"]),
        ("line\nPatientID: not known", []),
        ("C:\\nowhere\\u00fc", []),  # a path, of which a backslash is part
    ],
)
def test_a_string_of_json_is_read_as_a_text_is(tmp_path, ending, note, named):
    (tmp_path / f"a{ending}").write_text(json.dumps({"case": "c1", "list": [{"note": note}]}))
    assert identified(tmp_path) == named


def test_one_name_in_json_is_one_finding_and_a_broken_line_hides_none_behind_it(tmp_path):
    lines = ['{"note": "DOE^JANE", "path": "C:\\\\scans\\\\a.dcm"}', '{"a": ', '"ROE^JOHN"']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = scan_folder(tmp_path)
    assert {(f["where"], f["text"]) for f in found["findings"]} == {
        ("line 1", "DOE^JANE"),
        ("line 1", "C:\\scans\\a.dcm"),
        ("line 3", "ROE^JOHN"),
    }
    assert (found["identifying"], found["trace"]) == (2, 1)
    assert [one["file"] for one in found["unread"]] == ["a.jsonl"]


@pytest.mark.parametrize("ending", [".txt", ".json"])
@pytest.mark.parametrize(
    "name",
    [
        "NOWAK^\u0141UKASZ",
        "\u017bAK^ANNA",
        "\u00c7elik^Ay\u015fe",
        "\u0418\u0412\u0410\u041d\u041e\u0412^\u0418\u0412\u0410\u041d",
        "O\u2019NEIL^SHAUN",
        "\u738b^\u5c0f\u660e",
        "\u5c71\u7530^\u592a\u90ce",
        "MU\u0308LLER^JO\u0308RG",
    ],
)
def test_a_name_of_any_writing_is_a_name(tmp_path, ending, name):
    (tmp_path / f"a{ending}").write_text(json.dumps(f"by {name}.", ensure_ascii=False), "utf-8")
    assert identified(tmp_path) == [unicodedata.normalize("NFC", name)]


def test_formulas_and_units_are_no_names(tmp_path):
    text = "exp^X, m^K, \u03b1\u03b2^\u0393, kg^M, X^Y, Gy^2, \u0438\u043c^\u0418\u043c, 10^Bq"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"unit": text}))
    assert scan_folder(tmp_path)["findings"] == []


def test_names_of_real_cases_are_found_however_their_letters_are_written(tmp_path):
    name = "pat 3 M\u00fcller"
    (tmp_path / "provenance.jsonl").write_text(json.dumps({"source_case": name}) + "\n")
    (tmp_path / "a.txt").write_text(f"of {name}", encoding="utf-8")
    (tmp_path / unicodedata.normalize("NFD", f"{name}.csv")).write_text("x")  # as macOS does
    for form in ("NFC", "NFD"):
        found = scan_folder(tmp_path, [unicodedata.normalize(form, name)])["findings"]
        assert [(f["kind"], f["text"]) for f in found] == [("real case", name)] * 3


def test_half_a_character_can_be_written_down(tmp_path):
    said = '{"PatientName": "Jane \\ud800", "\\ud800": "PatientID: 4711", "a": "DOE^JANE \\ud800"}'
    (tmp_path / "a.json").write_text(said)
    found = scan_folder(tmp_path)
    assert [f["text"] for f in found["findings"]] == ["DOE^JANE", "4711", "Jane ?"]
    assert json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("1.2.840.113619.2.55.3.604688119.971.nii.gz", "uid"),
        ("series_1.2.840.113619.2.55.3.604688119.971.dcm.txt", "uid"),
        ("20190312.nii.gz", "date"),
        ("scan_20190312.nii.gz", "date"),
        ("20190312_t1.nii.gz", "date"),
        ("2019-03-12_t1.nii.gz", "date"),
        ("t1_2019_03_12.nii.gz", "date"),
        ("12.03.2019_t1.nii.gz", "date"),
        ("DOE^JANE_t1.nii.gz", "name"),
        ("t1_DOE^JANE.nii.gz", "name"),
        ("liver_003_0000.nii.gz", "real case"),  # as nnU-Net calls the image of a case
        ("copy_liver_003.nii.gz", "real case"),
        ("liver_0031.nii.gz", ""),
        ("synth_000017_0000.nii.gz", ""),
        ("version_1.2.3.txt", ""),
        ("4.20190312.7.txt", ""),
        ("a120190312.txt", ""),
    ],
)
def test_what_the_name_of_a_file_gives_away_is_found(tmp_path, name, kind):
    (tmp_path / name).write_text("nothing")
    found = scan_folder(tmp_path, ["liver_003"])["findings"]
    assert [one["kind"] for one in found if one["where"] == "file name"] == [kind] * bool(kind)


@pytest.mark.parametrize(
    "text", ["2019-03-12T11:12:13", "taken 12.03.2019 at", "03/12/2019", '{"a": "20190312T11"}']
)
def test_dates_are_found_as_programs_and_people_write_them(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    assert [one["kind"] for one in scan_folder(tmp_path)["findings"]] == ["date"]
