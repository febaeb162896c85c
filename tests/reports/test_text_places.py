"""Names on a chart: they meet neither each other nor a mark, and one without room is left out."""

from vitdeploy.reports.charts import text_places


def test_a_lone_name_stands_on_the_right_and_at_the_edge_on_the_left():
    assert text_places.sides([(50, 50)], ["name"], 300) == ["right"]
    assert text_places.sides([(290, 50)], ["name"], 300) == ["left"]


def test_names_of_near_marks_take_other_sides():
    chosen = text_places.sides([(100, 50), (130, 52)], ["EfficientViT-L2", "SegNeXt-L"], 400)
    assert chosen[0] != "right"
    assert chosen[1] == "right"


def test_a_name_without_room_is_left_out():
    crowd = [(20.0 + 14 * x, 20.0 + 14 * y) for x in range(5) for y in range(5)]
    chosen = text_places.sides(crowd, ["a long name"] * 25, 110)
    assert chosen[12] == ""
    assert text_places.sides([(50, 50)], ["a name longer than the chart is wide"], 100) == [""]


def test_the_share_of_a_logarithmic_axis():
    assert text_places.share_of_log(10, (1, 100)) == 0.5
